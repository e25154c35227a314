"""Why pods are refused is read from the Events of their StatefulSet, and not more than needed."""

import asyncio
from typing import Any

import pytest

from lws_kueue.api import facts
from lws_kueue.runtime import client, refusals

NOTE = 'create Pod a-0 in StatefulSet a failed error: pods "a-0" is forbidden: no'


class Server:
    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = list(events)
        self.asked: list[tuple[str, str]] = []
        self.away = False

    async def request(self, method: str, path: str, *, query: dict[str, str]) -> Any:
        assert method == "GET"
        self.asked.append((path, query["fieldSelector"]))
        if self.away:
            raise client.ApiError(status=503, reason="", message="", request="get")
        return {"items": self.events}


def a_set(name: str = "a") -> facts.StatefulSet:
    meta = {"namespace": "ns", "name": name, "uid": f"uid-{name}"}
    return facts.StatefulSet.of({"metadata": meta, "spec": {}})


def asked(server: Server, *, clock: list[float], times: int = 1) -> dict[str, str]:
    api: Any = server
    reader = refusals.Refusals(api, clock=lambda: clock.pop(0))
    found: dict[str, str] = {}
    for _ in range(times):
        found = asyncio.run(reader.of([a_set()]))
    return found


def event(note: str, **times: Any) -> dict[str, Any]:
    return {"note": note, **times}


@pytest.mark.row("P6")
@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([event(NOTE, eventTime="2030-01-01T00:00:01.5Z")], 'pods "a-0" is forbidden: no'),
        ([event("in other words", eventTime="2030-01-01T00:00:01Z")], "in other words"),
        (
            [
                event("x failed error: old", deprecatedLastTimestamp="2030-01-01T00:00:01Z"),
                event("x failed error: new", deprecatedLastTimestamp="2030-01-01T00:00:02Z"),
            ],
            "new",
        ),
        (
            [
                event("old", eventTime="2030-01-01T00:00:05Z"),
                event(
                    "seen again",
                    eventTime="2030-01-01T00:00:01Z",
                    series={"lastObservedTime": "2030-01-01T00:00:09.1Z"},
                ),
            ],
            "seen again",
        ),
        (
            [
                event("pod b", eventTime="2030-01-01T00:00:05.9Z"),
                event("pod a", eventTime="2030-01-01T00:00:05.1Z"),
            ],
            "pod a",
        ),
    ],
)
def test_the_newest_event_says_why(events: list[dict[str, Any]], why: str) -> None:
    server = Server(*events)
    assert asked(server, clock=[0.0]) == {"a": why}
    ((path, selector),) = server.asked
    assert path == "/apis/events.k8s.io/v1/namespaces/ns/events"
    assert selector == "regarding.uid=uid-a,reason=FailedCreate"


def test_an_answer_is_good_for_a_moment_and_none_is_not() -> None:
    server = Server(event(NOTE, eventTime="2030-01-01T00:00:01Z"))
    asked(server, clock=[0.0, 9.0, 11.0], times=3)
    assert len(server.asked) == 2
    empty = Server()
    assert asked(empty, clock=[0.0, 1.0], times=2) == {}
    assert len(empty.asked) == 2


def test_events_that_cannot_be_read_hold_up_nothing() -> None:
    server = Server()
    server.away = True
    assert asked(server, clock=[0.0]) == {}
