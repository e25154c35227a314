"""Pods that no watch tells are looked up beside the passes: a slow cluster holds up none."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lws_kueue.api import facts
from lws_kueue.runtime import client
from lws_kueue.runtime.clusters import looks

POD = facts.Pod.of({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}})
ASKED = {"w1": ("r",), "w2": ("r",)}


class Clusters:
    """Two clusters, of which w1 answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked: list[str] = []
        self.uid = ""
        self.fails = False
        self.looks = looks.Looks(self.read, set_of=lambda *_: self.uid)

    async def read(self, cluster: str, namespace: str, name: str) -> tuple[facts.Pod, ...] | None:
        self.asked.append(cluster)
        if cluster == "w1":
            await self.go.wait()
            if self.fails:
                raise client.ApiError(status=500, reason="", message="no", request="GET")
        return (POD,)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "PATIENCE", 0.05)


def play(what: Callable[[Clusters], Awaitable[None]]) -> None:
    async def run() -> None:
        clusters = Clusters()
        try:
            await what(clusters)
        finally:
            await clusters.looks.close()

    asyncio.run(run())


async def answered(clusters: Clusters) -> None:
    """Let w1 answer, and wait for that."""
    clusters.go.set()
    await asyncio.wait(clusters.looks._begun.values())


@pytest.mark.row("MK-72")
def test_a_pass_does_not_wait_for_a_slow_cluster_and_the_next_one_has_its_answer() -> None:
    async def scenario(clusters: Clusters) -> None:
        assert await clusters.looks.of("ns", ASKED) == {"w2": {"r": (POD,)}}
        # It is asked once, however many passes ask.
        assert await clusters.looks.of("ns", {"w1": ("r",)}) == {}
        assert clusters.asked.count("w1") == 1
        await answered(clusters)
        assert await clusters.looks.of("ns", {"w1": ("r",)}) == {"w1": {"r": (POD,)}}

    play(scenario)


def test_an_answer_is_used_once() -> None:
    async def scenario(clusters: Clusters) -> None:
        clusters.go.set()
        for _ in range(2):
            assert await clusters.looks.of("ns", {"w1": ("r",)}) == {"w1": {"r": (POD,)}}
        assert clusters.asked == ["w1", "w1"]

    play(scenario)


def test_an_answer_for_which_nobody_comes_in_time_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(clusters: Clusters) -> None:
        await clusters.looks.of("ns", {"w1": ("r",)})
        await answered(clusters)
        monkeypatch.setattr(looks, "GOOD_FOR", -1.0)
        clusters.go.clear()
        assert await clusters.looks.of("ns", {"w1": ("r",)}) == {}
        assert clusters.asked == ["w1", "w1"]

    play(scenario)


def test_an_answer_from_before_the_set_was_another_one_is_none() -> None:
    async def scenario(clusters: Clusters) -> None:
        await clusters.looks.of("ns", {"w1": ("r",)})
        await answered(clusters)
        clusters.uid = "made since"
        assert await clusters.looks.of("ns", {"w1": ("r",)}) == {}

    play(scenario)


def test_what_cannot_be_read_is_left_out_and_asked_for_again() -> None:
    async def scenario(clusters: Clusters) -> None:
        clusters.fails = True
        clusters.go.set()
        assert await clusters.looks.of("ns", ASKED) == {"w2": {"r": (POD,)}}
        clusters.fails = False
        assert await clusters.looks.of("ns", {"w1": ("r",)}) == {"w1": {"r": (POD,)}}

    play(scenario)
