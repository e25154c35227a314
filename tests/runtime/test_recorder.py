"""An event that cannot be sent at once is sent a little later, and is one event all the same."""

import asyncio
import contextlib
from typing import Any

import pytest

from lws_kueue.api import actions, facts
from lws_kueue.runtime import client, recorder

REGARDING = facts.Meta.of(
    {"metadata": {"namespace": "ns", "name": "set", "uid": "s", "resourceVersion": "1"}}
)
EVENT = actions.Event("Warning", "Reason", "message")


def regarding(namespace: str, name: str) -> facts.Meta:
    """A set to tell of."""
    return facts.Meta.of({"metadata": {"namespace": namespace, "name": name, "uid": "s"}})


class Api:
    """Answers creations in turn: an error is raised, None is a success."""

    def __init__(self, *answers: client.ApiError | None) -> None:
        self._answers = list(answers)
        self.sent: list[str] = []

    async def create(self, body: Any, *, field_manager: str) -> dict[str, Any]:
        assert field_manager
        self.sent.append(body["metadata"]["name"])
        answer = self._answers.pop(0)
        if answer is not None:
            raise answer
        return dict(body)


def error(status: int, reason: str = "") -> client.ApiError:
    return client.ApiError(status=status, reason=reason, message="no", request="test")


def send(api: Api, events: int = 1) -> None:
    async def play() -> None:
        one = recorder.Recorder(api)  # type: ignore[arg-type]
        for number in range(events):
            one.record(REGARDING, actions.Event("Warning", "Reason", f"message {number}"))
        running = asyncio.create_task(one.run())
        await one.flush()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(play())


@pytest.mark.parametrize("status", [0, 429, 500, 503])
def test_an_event_outlives_a_moment_in_which_nobody_takes_it(status: int) -> None:
    api = Api(error(status), None)
    send(api)
    assert len(api.sent) == 2
    assert len(set(api.sent)) == 1, "it is the same one"


@pytest.mark.parametrize("refusal", [error(403), error(404), error(409, "AlreadyExists")])
def test_a_refusal_is_final_and_the_next_event_is_sent(refusal: client.ApiError) -> None:
    api = Api(refusal, None)
    send(api, events=2)
    assert len(set(api.sent)) == 2


def test_a_flood_of_one_namespace_takes_neither_room_nor_time_from_another() -> None:
    async def play() -> None:
        api = Api(*[None] * (2 * recorder.MOST_WAITING))
        one = recorder.Recorder(api)  # type: ignore[arg-type]
        recorded = [
            one.record(regarding("hostile", f"set-{n}"), EVENT)
            for n in range(2 * recorder.MOST_WAITING)
        ]
        assert sum(recorded) == recorder.MOST_WAITING
        quiet = [one.record(regarding("quiet", "set"), EVENT) for _ in range(recorder.RESERVED)]
        assert all(quiet)
        running = asyncio.create_task(one.run())
        await one.flush()
        running.cancel()
        assert len(api.sent) == recorder.MOST_WAITING + recorder.RESERVED
        assert api.sent[1].startswith("set.")
        # What was sent leaves room.
        assert one.record(regarding("hostile", "set"), EVENT)

    asyncio.run(play())
