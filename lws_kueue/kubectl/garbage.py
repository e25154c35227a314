"""Garbage: whoever answers one question and ends leaves little of it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignored() -> Iterator[None]:
    """Look for no garbage meanwhile: what is made stays, so to look among it only takes time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
