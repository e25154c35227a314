"""The judge sees each invariant break: with one rule of the product taken away it says so.

Each plot goes well with the rule, as is tested here as well.
"""

import contextlib
import dataclasses
from collections.abc import Callable

import pytest

from lws_kueue.api import actions, names
from lws_kueue.dispatch import fitting, identity, places, remote_objects, stopping
from lws_kueue.workload import podsets
from tests.dispatch import test_stories as stories
from tests.kit.judge.dispatch import Broken
from tests.kit.memory.multikueue import manager, world

Patch = pytest.MonkeyPatch


# Rules that are taken away -------------------------------------------------------------------


def gives_up_at_once(patch: Patch) -> None:
    """A cluster that is lost counts as stopped without any time-out."""
    patch.setattr(stopping, "is_given_up", lambda view, place: not place.up)


def has_no_gate(patch: Patch) -> None:
    """The set in a worker has no gate in its templates."""
    patch.setattr(podsets, "gated", lambda spec: dict(spec))


def clears_at_once(patch: Patch) -> None:
    """An evicted group counts as stopped before it has."""
    stop = stopping.everywhere

    def everywhere(view: places.View, why: str) -> stopping.Stop:
        return dataclasses.replace(stop(view, why), done=True)

    patch.setattr(stopping, "everywhere", everywhere)


def takes_workloads_first(patch: Patch) -> None:
    """A worker's Workload is removed while its set is still there."""
    stop = stopping.at

    def at(view: places.View, place: places.Place, why: str) -> stopping.Stop:
        if place.up and place.offer is not None:
            ref = remote_objects.workload_ref(place.offer, place.name)
            delete = actions.Delete(ref, place.offer.meta.uid)
            return stopping.Stop(actions.Part(chains=((delete,),)))
        return stop(view, place, why)

    patch.setattr(stopping, "at", at)


def leaves_others_alone(patch: Patch) -> None:
    """What other clusters have of a group is neither waited for nor looked at again."""
    patch.setattr(stopping, "elsewhere", lambda *_: stopping.Stop(done=True))
    patch.setattr(world.World, "_expect", lambda *_: None)


def takes_anything(patch: Patch) -> None:
    """Whatever has our names counts as ours."""
    patch.setattr(identity, "is_ours", lambda meta, manager: True)


def forgets_leftovers(patch: Patch) -> None:
    """What workers have of groups that nobody wants is not looked at."""

    def groups(seen: object) -> object:
        found = of(seen)  # type: ignore[arg-type]
        return {one: group for one, group in found.items() if group.workload or group.wanted}

    of = places.groups
    patch.setattr(places, "groups", groups)


def makes_what_was_not_admitted(patch: Patch) -> None:
    """A set is made of what a group is to be by now, whatever its Workloads were made for."""
    patch.setattr(fitting, "misfit", lambda view, offer: None)
    patch.setattr(fitting, "asked", lambda view: view.group.content is not None)


def goes_anywhere(patch: Patch) -> None:
    """What a set says of where its groups are to be is not looked at."""
    patch.setattr(places.View, "within", lambda view, room: view)


# Plots ---------------------------------------------------------------------------------------


def a_short_cut() -> world.World:
    here = stories.settled(replicas=1, quotas=(1, 1))
    here.cut(here.placed()[0])
    here.tick(world.DETECTED_AFTER)
    for _ in range(9):
        _round(here)
    return here


def pods_made_after_an_eviction() -> world.World:
    here = stories.settled(replicas=1, quotas=(1, 0))
    cluster = here.links["w1"].cluster
    (offer,) = cluster.of_kind("Workload").values()
    cluster.evict(offer, "Preempted", "Preempted to make room")
    for happen in (cluster.bridge, cluster.end_pods, cluster.bridge, cluster.make_pods):
        happen()
        here.check()
    return here


def an_eviction() -> world.World:
    here = stories.settled(replicas=1, quotas=(1, 0))
    stories._evicted(here, "")
    return here


def a_deletion() -> world.World:
    here = stories.settled(replicas=1, quotas=(1, 0))
    here.manager.delete(names.LWS_KIND, manager.SET)
    return here


def two_answers() -> world.World:
    return world.World(replicas=1, quotas=(1, 1), options=stories.ALL)


def a_mark_that_is_taken_off() -> world.World:
    here = stories.settled(replicas=1, quotas=(1, 0))
    (one,) = here.links["w1"].cluster.of_kind(names.LWS_KIND).values()
    one["metadata"]["annotations"].pop(names.MANAGER)
    here.links["w1"].cluster.touch(one)
    here.manager.delete(names.LWS_KIND, manager.SET)
    return here


def a_deletion_while_a_cluster_is_lost() -> world.World:
    here = stories.settled(replicas=1, quotas=(1, 0))
    here.cut("w1")
    stories._rounds(here, 12)
    here.manager.delete(names.LWS_KIND, manager.SET)
    stories._rounds(here, 40)
    here.mend("w1")
    return here


def more_requests() -> world.World:
    here = stories.settled(replicas=1, quotas=(1, 1))
    here.manager.edit(cpu=2)
    return here


def a_set_that_is_to_be_in_one_cluster() -> world.World:
    wish = {names.PLACEMENT: "one-cluster"}
    return world.World(replicas=2, quotas=(1, 2), annotations=wish)


def a_set_that_is_to_be_beside_another() -> world.World:
    wish = {names.SAME_CLUSTER_AS: world.OTHER}
    here = world.World(replicas=1, quotas=(1, 1), annotations=wish)
    here.other = frozenset({"w2"})
    return here


FAULTS: dict[str, tuple[Callable[[Patch], None], Callable[[], world.World]]] = {
    "INV-1": (gives_up_at_once, a_short_cut),
    "INV-2": (has_no_gate, pods_made_after_an_eviction),
    "INV-3": (clears_at_once, an_eviction),
    "INV-4": (takes_workloads_first, a_deletion),
    "INV-5": (leaves_others_alone, two_answers),
    "INV-6": (takes_anything, a_mark_that_is_taken_off),
    "INV-7": (forgets_leftovers, a_deletion_while_a_cluster_is_lost),
    "one-cluster": (goes_anywhere, a_set_that_is_to_be_in_one_cluster),
    "same-cluster-as": (goes_anywhere, a_set_that_is_to_be_beside_another),
    "INV-9": (makes_what_was_not_admitted, more_requests),
}


def _go(plot: Callable[[], world.World]) -> None:
    """Play a plot to its end; that it comes to no rest is nothing that is judged here."""
    here = plot()
    with contextlib.suppress(world.NoRest):
        here.settle(rounds=60)
    here.judge.rest(here)


@pytest.mark.parametrize("name", FAULTS)
def test_the_judge_sees_an_invariant_break(name: str, monkeypatch: Patch) -> None:
    fault, plot = FAULTS[name]
    fault(monkeypatch)
    with pytest.raises(Broken, match=name):
        _go(plot)


@pytest.mark.parametrize("name", FAULTS)
def test_no_invariant_breaks_with_all_rules_in_place(name: str) -> None:
    _go(FAULTS[name][1])


def _round(here: world.World) -> None:
    """Let everything happen, in no time."""
    for _ in range(2):
        for happen in here.actors():
            happen()
            here.check()
    here.look()
    here.run()
