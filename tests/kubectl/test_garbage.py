"""Garbage is ignored for a while, and looked for afterwards as before."""

import gc

import pytest

from lws_kueue.kubectl import garbage


def fails() -> None:
    with garbage.ignored():
        assert not gc.isenabled()
        raise LookupError


@pytest.mark.parametrize("collects", [True, False])
def test_it_is_looked_for_afterwards_if_it_was_before(collects: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if collects else gc.disable()
        with pytest.raises(LookupError):
            fails()
        assert gc.isenabled() is collects
    finally:
        gc.enable() if before else gc.disable()
