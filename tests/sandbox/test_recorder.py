"""The recorder of the whole-system tests leaves nothing out that was there when it ended."""

import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import recorder

POD = ("v1", "Pod")


def event(kind: str, uid: str, version: int) -> recorder.Object:
    metadata = {"name": uid, "uid": uid, "resourceVersion": str(version)}
    return {"type": kind, "object": {"kind": "Pod", "metadata": metadata}}


class Server:
    """Lists what it is told to, and tells one event in each watch; the last one for ever."""

    def __init__(self, lists: list[tuple[list[str], int]], *events: recorder.Object) -> None:
        self.lists = itertools.chain(lists[:-1], itertools.repeat(lists[-1]))
        self.events = iter(events)

    def list_page(self, *_: str, namespace: str | None = None) -> tuple[list[Any], str]:
        objects, version = next(self.lists)
        return [event("", *_named(name))["object"] for name in objects], str(version)

    def watch(self, *_: str, **__: Any) -> Iterator[recorder.Object]:
        yield from itertools.islice(self.events, 1)


def _named(text: str) -> tuple[str, int]:
    uid, _, version = text.partition("@")
    return uid, int(version)


def recorded(server: Server, **options: Any) -> list[str]:
    cluster = cast("sandbox.Sandbox", SimpleNamespace(api=server))
    with recorder.Recorder(cluster, POD, **options).watching() as found:
        pass
    return [f"{e['type']} {e['object']['metadata']['uid']}" for e in found.events]


@pytest.mark.parametrize(
    ("lists", "events", "expected"),
    [
        ([(["a@1"], 1), (["a@3"], 3)], [event("MODIFIED", "a", 3)], ["MODIFIED a"]),
        ([(["a@1"], 1), ([], 2)], [event("DELETED", "a", 2)], ["DELETED a"]),
        (
            [([], 1), (["b@3"], 3)],
            [event("ADDED", "b", 2), event("MODIFIED", "b", 3)],
            ["ADDED b", "MODIFIED b"],
        ),
        # What was there at the end is gone before the watch has shown it.
        (
            [([], 1), (["b@2"], 2)],
            [event("ADDED", "b", 2), event("DELETED", "b", 4)],
            ["ADDED b"],
        ),
        # Others go on meanwhile.
        ([([], 1), (["b@2"], 2)], [event("ADDED", "c", 5), event("ADDED", "b", 2)], None),
    ],
    ids=["changed", "gone", "made and changed", "gone later", "more comes"],
)
def test_what_was_there_at_the_end_has_been_seen(
    lists: list[tuple[list[str], int]],
    events: list[recorder.Object],
    expected: list[str] | None,
) -> None:
    found = recorded(Server(lists, *events))
    if expected is None:
        assert "ADDED b" in found
    else:
        assert found[: len(expected)] == expected


def test_what_is_listed_at_the_beginning_is_an_event_where_that_is_wanted() -> None:
    assert recorded(Server([(["a@1"], 1)])) == []
    assert recorded(Server([(["a@1"], 1)]), from_list=True) == ["MODIFIED a"]


def test_a_watch_that_fails_fails_the_recording() -> None:
    error = {"type": "ERROR", "object": {"code": 410}}
    with pytest.raises(AssertionError, match="missed something"):
        recorded(Server([([], 1), (["a@2"], 2)], error))
