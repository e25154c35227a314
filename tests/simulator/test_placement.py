"""Places are reckoned on from one state to the next: the answers, and what that takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.simulator import codec, nodes, objects, packing, placement, snapshot
from tests.kit.builders import cluster as build
from tests.kit.examples import examples
from tests.simulator.test_scheduler import NOW, holding, workload

BLOCK, RACK, HOST = "block", "rack", nodes.HOSTNAME
LEVELS = [(BLOCK, RACK, HOST), (BLOCK, RACK), (RACK, HOST), (HOST,)]
FLAVORS = [
    objects.Flavor.of({"metadata": {"name": "all"}}),
    objects.Flavor.of({"metadata": {"name": "odd"}, "spec": {"nodeLabels": {"parity": "1"}}}),
]


def node(number: int, *, rack: int, block: int, cpu: int, memory: int = 64) -> nodes.Node:
    labels = {BLOCK: f"b{block}", RACK: f"r{rack}", HOST: f"n{number}", "parity": str(number % 2)}
    status = {
        "allocatable": {"cpu": str(cpu), "memory": str(memory), "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return nodes.Node.of({"metadata": {"name": f"n{number}", "labels": labels}, "status": status})


def pod_set(name: str, count: int, cpu: int, memory: int = 0, **asked: Any) -> placement.Request:
    amounts = {"cpu": str(cpu)} | ({"memory": str(memory)} if memory else {})
    spec = {"containers": [{"name": "c", "resources": {"requests": amounts}}]}
    body = {"name": name, "count": count, "template": {"spec": spec}, "topologyRequest": asked}
    return placement.Request(objects.PodSet.of(body), count)


@st.composite
def machines(draw: st.DrawFn) -> Mapping[str, nodes.Node]:
    racks = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    per_block = draw(st.integers(1, 3))
    found: dict[str, nodes.Node] = {}
    for rack, hosts in enumerate(racks):
        for _ in range(hosts):
            cpu, memory = draw(st.integers(0, 5)), draw(st.integers(0, 5))
            made = node(len(found), rack=rack, block=rack // per_block, cpu=cpu, memory=memory)
            found[made.name] = made
    return found


@st.composite
def wanted(draw: st.DrawFn, levels: Sequence[str]) -> list[placement.Request]:
    """Draw one pod set, or workers with a leader, that ask for places in some way."""
    how = draw(st.sampled_from(["required", "preferred", "unconstrained"]))
    asked: dict[str, Any] = {how: True if how == "unconstrained" else draw(st.sampled_from(levels))}
    count, memory = draw(st.integers(1, 8)), draw(st.sampled_from([0, 1, 2]))
    sizes = [size for size in (1, 2, 3) if count % size == 0]
    slices = draw(st.sampled_from(["none", "one", "layers"]))
    size = draw(st.sampled_from(sizes))
    if slices == "one":
        level = draw(st.sampled_from(levels))
        asked |= {"podSetSliceRequiredTopology": level, "podSetSliceSize": size}
    elif slices == "layers":
        layers = [{"topology": draw(st.sampled_from(levels)), "size": size}]
        layers += [{"topology": levels[-1], "size": draw(st.sampled_from([1, size]))}]
        asked["podsetSliceRequiredTopologyConstraints"] = layers
    workers = pod_set("workers", count, draw(st.integers(1, 2)), memory, **asked)
    if draw(st.booleans()):
        return [workers]
    return [pod_set("leader", 1, draw(st.integers(1, 3)), **asked), workers]


@st.composite
def taken(draw: st.DrawFn, levels: tuple[str, ...], hosts: Sequence[nodes.Node]) -> placement.Taken:
    """Draw what pods take of a domain; of one that there is not, now and then."""
    labels = draw(st.sampled_from(hosts)).labels
    domain = tuple(labels[level] for level in levels)
    listed = placement.assigned_values(objects.Topology("t", levels), domain)
    return placement.Taken(
        label=draw(st.sampled_from([levels[-1], levels[0]])),
        domain=draw(st.sampled_from([listed, listed, listed, ("gone",)])),
        count=draw(st.integers(1, 3)),
        single={
            "cpu": 1000 * draw(st.integers(0, 2)),
            "memory": draw(st.integers(0, 2)),
            "pods": 1,
        },
        flavors=draw(st.sampled_from([frozenset({"all"}), frozenset({"odd"}), frozenset()])),
    )


def asked(capacity: placement.Capacity, question: placement.Question) -> object:
    try:
        return capacity.place(question)
    except placement.UnplacedError as error:
        return str(error)


@examples(1000)
@given(st.data())
def test_what_is_reckoned_on_is_what_it_would_be_from_scratch(data: st.DataObject) -> None:
    found, levels = data.draw(machines()), data.draw(st.sampled_from(LEVELS))
    topology, hosts = objects.Topology("t", levels), [*found.values()]
    questions = []
    for units in data.draw(st.lists(wanted(levels), min_size=1, max_size=3)):
        flavor = data.draw(st.sampled_from(FLAVORS))
        try:
            questions.append(placement.Question(units, topology=topology, flavor=flavor))
        except placement.UnplacedError:
            # It contradicts itself, whatever is free.
            continue
    capacity = placement.Capacity(placement.Places(nodes=found, bound={}))
    counted: list[placement.Taken] = []
    for _ in range(data.draw(st.integers(1, 6))):
        going = data.draw(st.lists(st.sampled_from(counted), unique_by=id)) if counted else []
        coming = data.draw(st.lists(taken(levels, hosts), max_size=3))
        capacity.give_back(going)
        capacity.take(coming)
        counted = [one for one in counted if not any(one is gone for gone in going)] + coming
        for question in data.draw(st.permutations(questions)):
            scratch = placement.Capacity(placement.Places(nodes=found, bound={}))
            scratch.take(counted)
            assert asked(capacity, question) == asked(scratch, question)


@examples(300)
@given(st.data())
def test_what_was_taken_and_given_back_leaves_no_trace(data: st.DataObject) -> None:
    found, levels = data.draw(machines()), data.draw(st.sampled_from(LEVELS))
    hosts, topology = [*found.values()], objects.Topology("t", levels)
    try:
        question = placement.Question(
            data.draw(wanted(levels)), topology=topology, flavor=FLAVORS[0]
        )
    except placement.UnplacedError:
        return
    capacity = placement.Capacity(placement.Places(nodes=found, bound={}))
    before = asked(capacity, question)
    some = data.draw(st.lists(taken(levels, hosts), max_size=8))
    capacity.take(some)
    asked(capacity, question)
    capacity.give_back(data.draw(st.permutations(some)))
    assert asked(capacity, question) == before


def test_who_was_measured_longest_ago_is_measured_anew_and_gets_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(placement, "_MOST_TREES", 1)
    capacity, scratch = placement.Capacity(many(20)), placement.Capacity(many(20))
    topology = objects.Topology("t", (RACK, HOST))
    for at in range(8):
        part = placement.Taken(HOST, (f"n{at}",), 1, {"cpu": 3000})
        capacity.take([part])
        more = [pod_set("main", 9, 1 + at % 2, required=RACK)]
        question = placement.Question(more, topology=topology, flavor=FLAVORS[0])
        found = asked(capacity, question)
        monkeypatch.setattr(placement, "_MOST_TREES", 2)
        scratch.take([part])
        assert found == asked(scratch, question)
        monkeypatch.setattr(placement, "_MOST_TREES", 1)


# What it takes ------------------------------------------------------------------------------------


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the nodes that are looked at, and the lowest and other domains that are measured."""
    done: Counter[str] = Counter()

    def counted(owner: Any, name: str, what: str) -> None:
        real = getattr(owner, name)

        def instead(*given: Any) -> Any:
            done[what] += 1
            return real(*given)

        monkeypatch.setattr(owner, name, instead)

    counted(placement.Capacity, "place", "placements")
    counted(placement, "_eligible", "nodes")
    counted(packing.Tree, "_put", "leaves")
    counted(packing.Tree, "_sum_up", "others")
    return done


def many(number: int) -> placement.Places:
    """Return so many nodes, each with eight cpu, ten in a rack and ten racks in a block."""
    made = [node(n, rack=n // 10, block=n // 100, cpu=8) for n in range(number)]
    return placement.Places(nodes={one.name: one for one in made}, bound={})


@pytest.mark.parametrize("number", [100, 1000])
def test_a_state_is_measured_where_it_differs_however_many_nodes_there_are(
    work: Counter[str], number: int
) -> None:
    topology = objects.Topology("t", (BLOCK, RACK, HOST))
    capacity = placement.Capacity(many(number))
    question = placement.Question(
        [pod_set("main", 4, 1, required=RACK)], topology=topology, flavor=FLAVORS[0]
    )
    capacity.place(question)
    assert work == {
        "placements": 1,
        "nodes": number,
        "leaves": number,
        "others": number // 10 + number // 100 + 1,
    }
    work.clear()
    states = 50
    for at in range(states):
        part = placement.Taken(HOST, (f"n{at % number}",), 1, {"cpu": 1000})
        capacity.take([part])
        # Asked twice of a state, and by who asks for another number, nothing is measured again.
        for count in (4, 4, 5):
            more = [pod_set("main", count, 1, required=RACK)]
            capacity.place(placement.Question(more, topology=topology, flavor=FLAVORS[0]))
    # One host, with its rack, its block and the root.
    assert work == {"placements": 3 * states, "leaves": states, "others": 3 * states}


def test_a_domain_that_is_measured_as_before_leaves_alone_what_is_above_it(
    work: Counter[str],
) -> None:
    capacity = placement.Capacity(many(100))
    topology = objects.Topology("t", (BLOCK, RACK, HOST))
    question = placement.Question(
        [pod_set("main", 2, 3, required=RACK)], topology=topology, flavor=FLAVORS[0]
    )
    capacity.place(question)
    work.clear()
    # Of eight cpu, seven have room for two pods of three as well.
    capacity.take([placement.Taken(HOST, ("n0",), 1, {"cpu": 1000})])
    capacity.place(question)
    assert work == {"placements": 1, "leaves": 1}


def test_nodes_are_looked_at_once_for_all_pods_that_choose_them_alike(work: Counter[str]) -> None:
    capacity = placement.Capacity(many(100))
    topology = objects.Topology("t", (BLOCK, RACK, HOST))
    for cpu in (1, 2, 4):
        more = [pod_set("main", 2, cpu, required=RACK)]
        capacity.place(placement.Question(more, topology=topology, flavor=FLAVORS[0]))
    assert work == {"placements": 3, "nodes": 100, "leaves": 300, "others": 36}


def rack_that_is_full(hosts: int) -> objects.Observed:
    """Return a rack with a Workload on each host, and one of more priority that wants them all."""
    there = []
    for at in range(hosts):
        made = holding(f"low-{at}", "1")
        stored = codec.encode([HOST], [((f"n{at}",), 1)])
        made["status"]["admission"]["podSetAssignments"][0]["topologyAssignment"] = stored
        there.append(made)
    wants = workload("high", "1", priority=1)
    wants["spec"]["podSets"][0] |= {"count": hosts, "topologyRequest": {"required": RACK}}
    policy = {"withinClusterQueue": "LowerPriority"}
    queue = build.cluster_queue("q", {"f": {"cpu": "1000"}}, preemption=policy)
    flavor = build.kueues("ResourceFlavor", "f", topologyName="t")
    local = build.local_queue("q", namespace="n", cluster_queue="q")
    parsed = [objects.Workload.of(one) for one in (*there, wants)]
    return objects.Observed(
        workloads={one.key: one for one in parsed},
        local_queues={("n", "q"): objects.LocalQueue.of(local)},
        cluster_queues={"q": objects.ClusterQueue.of(queue)},
        flavors={"f": objects.Flavor.of(flavor)},
        topologies={"t": objects.Topology("t", (RACK, HOST))},
        nodes={f"n{at}": node(at, rack=0, block=0, cpu=1) for at in range(hosts)},
    )


def test_what_it_takes_to_make_room_grows_with_those_who_have_to_go(work: Counter[str]) -> None:
    taken = []
    for hosts in (10, 20, 40):
        work.clear()
        found = snapshot.taken(rack_that_is_full(hosts), now=NOW)
        assert found.settle()
        assert len(found.displaced["n", "high"]) == hosts
        assert found.admitted(("n", "high"))
        taken.append(Counter(work))
    few, more, most = taken
    for what in ("placements", "nodes", "leaves"):
        assert most[what] - more[what] == 2 * (more[what] - few[what]) > 0
