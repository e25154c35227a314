"""Who may read metrics: what is asked of the API server, what follows, and what is remembered."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.manager.serve import authorization
from lws_kueue.runtime import client


class Reviews(client.Client):
    """An API server that knows some tokens and what their owners may do."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fault: client.ApiError | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        self.asked.append((path, body))
        if self.fault:
            raise self.fault
        if path == authorization.TOKEN_REVIEWS:
            token = body["spec"]["token"]
            if token == "stranger":
                return {"status": {"authenticated": False}}
            user = {"username": token, "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}}
            return {"status": {"authenticated": True, "user": user}}
        assert path == authorization.ACCESS_REVIEWS
        return {"status": {"allowed": body["spec"]["user"] == "reader"}}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def verdicts(
    reviews: Reviews, *headers: str, clock: Clock | None = None, pause: float = 0.0
) -> list[int]:
    clock = clock or Clock()
    judge = authorization.Access(reviews, clock=clock)

    async def ask() -> list[int]:
        found = []
        for header in headers:
            verdict = await judge.verdict(authorization=header, path="/metrics", verb="get")
            found.append(verdict.status)
            clock.now += pause
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Basic reader", 401),
        ("reader", 401),
        ("Bearer stranger", 401),
        ("Bearer somebody", 403),
        ("Bearer reader", 200),
        ("bearer reader", 200),
    ],
)
def test_only_the_token_of_a_reader_opens(header: str, status: int) -> None:
    assert verdicts(Reviews(), header) == [status]


def test_without_a_token_nothing_is_asked() -> None:
    reviews = Reviews()
    verdicts(reviews, "", "Basic x", "Bearer ")
    assert reviews.asked == []


def test_the_questions_are_those_of_the_review_apis() -> None:
    reviews = Reviews()
    verdicts(reviews, "Bearer reader")
    (_, token), (_, right) = reviews.asked
    assert token == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": "reader"},
    }
    assert right == {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "reader",
            "uid": "u",
            "groups": ["g"],
            "extra": {"k": ["v"]},
            "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
        },
    }


@pytest.mark.parametrize("status", [403, 404, 0])
def test_where_nothing_can_be_asked_the_answer_is_no_and_says_why(status: int) -> None:
    reviews = Reviews()
    reviews.fault = client.ApiError(status=status, reason="", message="", request="review")
    assert verdicts(reviews, "Bearer reader") == [500]


def test_an_answer_is_remembered_for_a_while() -> None:
    reviews = Reviews()
    assert verdicts(reviews, *["Bearer reader"] * 6, pause=15) == [200] * 6
    assert len(reviews.asked) == 4, "at the start, and after a minute"
    reviews = Reviews()
    assert verdicts(reviews, *["Bearer stranger"] * 3, pause=6) == [401] * 3
    assert len(reviews.asked) == 2, "at the start, and after ten seconds"


def test_what_is_remembered_of_one_path_says_nothing_of_another() -> None:
    reviews = Reviews()
    judge = authorization.Access(reviews)

    async def ask() -> None:
        await judge.verdict(authorization="Bearer reader", path="/metrics", verb="get")
        await judge.verdict(authorization="Bearer reader", path="/other", verb="get")

    asyncio.run(ask())
    paths = [
        b["spec"]["nonResourceAttributes"]["path"]
        for p, b in reviews.asked
        if "spec" in b and "nonResourceAttributes" in b["spec"]
    ]
    assert paths == ["/metrics", "/other"]


def test_a_flood_of_tokens_keeps_out_nobody_who_was_a_reader() -> None:
    reviews, clock = Reviews(), Clock()
    judge = authorization.Access(reviews, clock=clock)

    async def ask(token: str) -> int:
        found = await judge.verdict(authorization=f"Bearer {token}", path="/metrics", verb="get")
        return found.status

    async def run() -> None:
        assert await ask("reader") == 200
        # What is known of the reader has to be asked again.
        clock.now += 61
        flood = [asyncio.create_task(ask(f"guess-{n}")) for n in range(200)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(ask("reader"), timeout=10) == 200
        await asyncio.sleep(0)
        refused = [task.result() for task in flood if task.done()]
        assert refused.count(503) >= 150
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)

    asyncio.run(run())


def test_refusals_push_no_reader_out_of_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorization, "_QUESTIONS_A_SECOND", 10_000)
    reviews, clock = Reviews(), Clock()
    headers = ["Bearer reader", *(f"Bearer guess-{n}" for n in range(1_500)), "Bearer reader"]
    found = verdicts(reviews, *headers, clock=clock)
    assert [found[0], found[-1]] == [200, 200]
    asked = [body["spec"].get("token") for _, body in reviews.asked]
    assert asked.count("reader") == 1


def test_what_was_of_no_use_for_long_is_forgotten_first() -> None:
    known = authorization._Known(2)
    keys = [(bytes([n]), "/metrics", "get") for n in range(3)]
    for key in keys:
        known.add(key, authorization.Verdict(200), until=10.0)
    assert [key in known for key in keys] == [False, True, True], "the oldest has gone"
    assert known.get(keys[1], now=5.0) == authorization.Verdict(200)
    known.add(keys[0], authorization.Verdict(200), until=10.0)
    assert [key in known for key in keys] == [True, True, False], "what was of use stays"
    assert known.get(keys[1], now=10.0) is None
    known.drop(keys[1])
    assert keys[1] not in known
