"""Groups on fragmented clusters: from free capacity to the node of every rank, and back again.

Each cluster is a random tree of blocks, racks and hosts with random room. The stand-in for Kueue
places a group there, the assignment is written in any mix of forms, and what is read from it is
where the pods go.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import kueue
from lws_kueue.simulator import nodes, objects, placement
from lws_kueue.tas import assignment, ranks
from tests.kit.tables import forms
from tests.kit.tables.cases import BLOCK, HOST, RACK

FLAVOR = objects.Flavor.of({"metadata": {"name": "tas"}})
CLUSTERS = 500


@dataclasses.dataclass(frozen=True, slots=True)
class Cluster:
    """Free CPUs by the values of block, rack and host, and the levels of the topology."""

    levels: tuple[str, ...]
    free: Mapping[tuple[str, str, str], int]

    def room(self, level: str | None) -> int:
        """How many pods of one CPU the roomiest domain of a level has room for."""
        rooms: Counter[str] = Counter()
        for values, cpus in self.free.items():
            labels = dict(zip((BLOCK, RACK, HOST), values, strict=True))
            rooms[labels[level] if level else ""] += cpus
        return max(rooms.values())

    def places(self) -> placement.Places:
        found = {}
        for values, cpus in self.free.items():
            obj = {
                "metadata": {
                    "name": values[-1],
                    "labels": dict(zip((BLOCK, RACK, HOST), values, strict=True)),
                },
                "status": {
                    "allocatable": {"cpu": str(cpus), "pods": "110"},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }
            found[values[-1]] = nodes.Node.of(obj)
        return placement.Places(nodes=found, bound={})


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    levels = draw(st.sampled_from([(BLOCK, RACK, HOST), (BLOCK, RACK), (RACK, HOST), (HOST,)]))
    racks = draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1))
    per_block = draw(st.integers(1, 3))
    style = draw(st.sampled_from(["n{}", "node-{}.example.com", "{}-x"]))
    numbers = iter(draw(st.permutations(range(sum(map(len, racks))))))
    free = {
        (f"b{at // per_block}", f"r{at}", style.format(next(numbers))): cpus
        for at, rack in enumerate(racks)
        for cpus in rack
    }
    hypothesis.assume(any(free.values()))
    return Cluster(levels, free)


@dataclasses.dataclass(frozen=True, slots=True)
class PodSet:
    """The pods of one pod set: where their indices start, and the assignment as it is stored."""

    start: int
    count: int
    stored: dict[str, Any]
    placed: list[tuple[dict[str, str], int]]

    def pods(self, homes: Mapping[str, assignment.Domain] | None = None) -> list[ranks.RankedPod]:
        """All its pods; those that are not in ``homes`` wait to be placed."""
        names = (f"p-{self.start + rank}" for rank in range(self.count))
        return [
            ranks.RankedPod(
                name,
                self.start + rank,
                {"pool": "gpu", **homes[name].values} if homes and name in homes else None,
            )
            for rank, name in enumerate(names)
        ]

    def place(self, pods: Sequence[ranks.RankedPod]) -> ranks.Placement:
        stored = kueue.TopologyAssignment.model_validate(self.stored)
        domains = assignment.decode(stored)
        return ranks.place(domains, pods, count=self.count, start=self.start)


@st.composite
def placed_groups(draw: st.DrawFn) -> list[PodSet]:
    """The pod sets of a group that Kueue has placed somewhere in a cluster."""
    cluster = draw(clusters())
    how = draw(st.sampled_from(["required", "preferred", "unconstrained"]))
    level = draw(st.sampled_from(cluster.levels))
    asked: dict[str, Any] = {how: True if how == "unconstrained" else level}
    room = cluster.room(level if how == "required" else None)
    shapes = ["main"] if room == 1 else ["main", "beside", "grouped"]
    shape = draw(st.sampled_from(shapes))
    if shape == "grouped":
        asked["podSetGroupName"] = "g"
    if shape == "main":
        units = [[_request("main", draw(st.integers(1, room)), asked)]]
    else:
        # The leader may take a place where the workers would go.
        leader = _request("leader", 1, asked)
        workers = _request("worker", draw(st.integers(1, room - 1)), asked)
        units = [[leader, workers]] if shape == "grouped" else [[leader], [workers]]
    topology = objects.Topology("t", cluster.levels)
    capacity = placement.Capacity(cluster.places())
    found: dict[str, placement.Placed] = {}
    for unit in units:
        placed = capacity.place(placement.Question(unit, topology=topology, flavor=FLAVOR))
        found |= placed
        capacity.take(
            placement.Taken(
                cluster.levels[-1], placement.assigned_values(topology, domain), count, one.single
            )
            for one in unit
            for domain, count in placed[one.pod_set.name]
        )
    return [
        _pod_set(draw, one, found[one.pod_set.name], cluster.levels, grouped=shape == "grouped")
        for unit in units
        for one in unit
    ]


def _request(name: str, count: int, asked: Mapping[str, Any]) -> placement.Request:
    container = {"name": "c", "resources": {"requests": {"cpu": "1"}}}
    body = {
        "name": name,
        "count": count,
        "template": {"spec": {"containers": [container]}},
        "topologyRequest": dict(asked),
    }
    return placement.Request(objects.PodSet.of(body), count)


def _pod_set(
    draw: st.DrawFn,
    request: placement.Request,
    placed: placement.Placed,
    levels: tuple[str, ...],
    *,
    grouped: bool,
) -> PodSet:
    everything = [(dict(zip(levels, values, strict=True)), n) for values, n in placed]
    # Kueue lists the host names alone where they are the lowest level; nothing depends on it.
    listed = draw(st.sampled_from([levels, levels[-1:]] if levels[-1] == HOST else [levels]))
    kept = [({key: values[key] for key in listed}, n) for values, n in everything]
    stored = draw(forms.encoded(listed, [assignment.Domain(values, n) for values, n in kept]))
    leaders = 1 if request.pod_set.name == "worker" else 0
    start = ranks.start_of(leaders=leaders, grouped=grouped, offset=None)
    return PodSet(start=start, count=request.count, stored=stored, placed=kept)


def steady(test: Any) -> Any:
    return hypothesis.settings(max_examples=CLUSTERS, derandomize=True)(test)


@pytest.mark.row("O01")
@steady
@given(placed_groups())
def test_ranks_follow_the_domains_of_the_assignment_and_fill_them_exactly(
    group: list[PodSet],
) -> None:
    for pod_set in group:
        found = pod_set.place(pod_set.pods())
        assert (found.disorder, found.crowded, found.unhealthy) == ("", (), ())
        order = [values for values, _ in pod_set.placed]
        by_rank = [
            order.index(dict(found.domains[f"p-{pod_set.start + rank}"].values))
            for rank in range(pod_set.count)
        ]
        assert by_rank == sorted(by_rank)
        assert [by_rank.count(at) for at in range(len(order))] == [n for _, n in pod_set.placed]
        assert len(by_rank) == sum(n for _, n in pod_set.placed)


@steady
@given(placed_groups(), st.data())
def test_a_restart_of_any_pods_moves_no_other_and_brings_them_back(
    group: list[PodSet], data: st.DataObject
) -> None:
    for pod_set in group:
        homes = dict(pod_set.place(pod_set.pods()).domains)
        restarted = data.draw(st.sets(st.sampled_from(sorted(homes))))
        staying = {name: domain for name, domain in homes.items() if name not in restarted}
        again = pod_set.place(pod_set.pods(staying))
        assert again.domains == {name: homes[name] for name in restarted}
