"""Workload names are those of Kueue's built-in integration."""

import pytest

from lws_kueue.workload import naming
from tests.kit.builders import builders


@pytest.mark.row("1.7")
@pytest.mark.parametrize(
    ("set_name", "index", "uid", "expected"),
    [
        ("lws", 0, "test-uid", "leaderworkerset-lws-0-5c70c"),
        ("test-lws", 0, "test-lws", "leaderworkerset-test-lws-0-31694"),
        ("test-lws", 1, "test-lws", "leaderworkerset-test-lws-1-1fb3d"),
        ("test-lws", 0, "origin-uid", "leaderworkerset-test-lws-0-09787"),
        (
            "queued-dual",
            1,
            "06bb7e5e-76d7-4ee2-bcdb-50b004262a23",
            "leaderworkerset-queued-dual-1-51428",
        ),
    ],
)
def test_a_name_is_kind_owner_and_hash(set_name: str, index: int, uid: str, expected: str) -> None:
    assert naming.workload_name(set_name, index, uid) == expected


def test_a_long_name_is_cut_before_the_hash_of_the_whole() -> None:
    short = naming.workload_name("a" * 60, 0, "u", short=True)
    other = naming.workload_name("a" * 60, 1, "u", short=True)
    assert len(short) == 63
    assert short[:57] == ("leaderworkerset-" + "a" * 60)[:57]
    assert short != other
    assert len(naming.workload_name("a" * 60, 0, "u")) == len("leaderworkerset--0-12345") + 60


@pytest.mark.row("R36")
def test_a_set_that_multikueue_copied_is_named_after_the_original() -> None:
    owner = builders.lws_object(
        name="test-lws",
        uid="here",
        labels={"kueue.x-k8s.io/multikueue-origin": "manager"},
        annotations={"kueue.x-k8s.io/multikueue-origin-uid": "origin-uid"},
    )
    assert naming.of_group(owner.meta, 0) == "leaderworkerset-test-lws-0-09787"
