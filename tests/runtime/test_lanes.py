"""Chains of other clusters beside the passes of their set: one of a group at a time."""

import asyncio
from collections.abc import Collection
from typing import Any

from lws_kueue.api import actions, facts, names
from lws_kueue.controller.observe import observed
from lws_kueue.dispatch import identity, remote_objects
from lws_kueue.runtime import keys, writes
from lws_kueue.runtime.clusters import lanes

KEY = keys.SetKey("ns", "serve")
MANAGER = identity.Manager("11111111-2222-3333-4444-555555555555", "lws-kueue-11111111")
SEEN = observed.Observed("ns", "serve", None, observed.Kueue("served"))


def group(index: int) -> identity.GroupId:
    return identity.GroupId("ns", "serve", "set-uid", index)


def make(index: int, cluster: str) -> actions.Chain:
    """Make the object of a group in a cluster."""
    meta: dict[str, Any] = {
        "namespace": "ns",
        "name": identity.set_name(MANAGER, group(index)),
        "labels": identity.labels(MANAGER, group(index)),
        "annotations": identity.annotations(MANAGER, group(index)),
    }
    body = {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND, "metadata": meta}
    return (actions.Create(body, cluster=cluster),)


def here(index: int) -> actions.Chain:
    ref = remote_objects.named_workload("ns", f"w-{index}", "")
    return (actions.Patch(ref, {}, "1"),)


def group_of(action: actions.Action) -> identity.GroupId | None:
    if isinstance(action, actions.Create):
        return identity.group_of(facts.Meta.of(action.body))
    assert isinstance(action, actions.Patch)
    return group(int(action.ref.name.rpartition("-")[2]))


class Stalled:
    """Carries chains out when it is told to."""

    def __init__(self) -> None:
        self.begun: list[actions.Chain] = []
        self.go = asyncio.Event()

    async def chain(
        self, key: keys.SetKey, *, regarding: facts.Meta | None, chain: actions.Chain
    ) -> writes.Outcome:
        self.begun.append(chain)
        await self.go.wait()
        return writes.Outcome(writes=1)


class Scene:
    def __init__(self) -> None:
        self.stalled = Stalled()
        self.over: list[tuple[keys.SetKey, tuple[str, ...]]] = []
        self.lanes = lanes.Lanes(
            self.stalled,  # type: ignore[arg-type]
            group_of=group_of,
            done=self.done,
        )

    async def done(
        self,
        key: keys.SetKey,
        seen: observed.Observed,
        outcome: writes.Outcome,
        clusters: Collection[str],
    ) -> None:
        self.over.append((key, tuple(sorted(clusters))))

    async def take(self, *chains: actions.Chain) -> tuple[actions.Chain, ...]:
        left = self.lanes.take(KEY, SEEN, actions.Plan(chains=chains))
        await asyncio.sleep(0)
        return left.chains

    async def finish(self) -> None:
        self.stalled.go.set()
        await asyncio.gather(*self.lanes._under_way)


def test_a_pass_does_not_wait_for_other_clusters_and_carries_out_what_is_here() -> None:
    async def run() -> None:
        scene = Scene()
        assert await scene.take(make(0, "w1"), here(1)) == (here(1),)
        assert scene.stalled.begun == [make(0, "w1")]
        await scene.finish()
        assert scene.over == [(KEY, ("w1",))]

    asyncio.run(run())


def test_nothing_is_written_of_a_group_while_something_of_it_is_under_way() -> None:
    async def run() -> None:
        scene = Scene()
        await scene.take(make(0, "w1"))
        scene.lanes.begins(KEY)
        assert await scene.take(make(0, "w2"), here(0), make(1, "w2"), here(2)) == (here(2),)
        assert scene.stalled.begun == [make(0, "w1"), make(1, "w2")]
        await scene.lanes.close()

    asyncio.run(run())


def test_what_was_decided_before_it_was_over_is_not_written_after_it() -> None:
    async def run() -> None:
        scene = Scene()
        scene.lanes.begins(KEY)
        await scene.take(make(0, "w1"))
        # The next pass looks, then the write comes to its end, and then that pass would write.
        scene.lanes.begins(KEY)
        await scene.finish()
        assert await scene.take(make(0, "w1"), here(0)) == ()
        scene.lanes.begins(KEY)
        assert await scene.take(here(0)) == (here(0),)

    asyncio.run(run())


def test_a_write_here_that_rests_on_a_look_elsewhere_is_beside_the_pass_as_well() -> None:
    async def run() -> None:
        scene = Scene()
        expects = actions.Expect(remote_objects.named_workload("ns", "offer", "w1"))
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w-0"}}
        apply = actions.Apply(body, "us", expects=(expects,))
        scene.lanes = lanes.Lanes(
            scene.stalled,  # type: ignore[arg-type]
            group_of=lambda _: group(0),
            done=scene.done,
        )
        assert await scene.take((apply,)) == ()
        await scene.finish()
        assert "w1" in scene.over[0][1]

    asyncio.run(run())
