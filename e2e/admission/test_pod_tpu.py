"""TPU variables: who gets them, and what they say (lws-contract 2.5)."""

from typing import Any

import pytest

from lws_kueue.api import names
from tests.kit.admission import model, support, tpu

# Who is told of whom -------------------------------------------------------------------------


def row(id_: str, *values: Any, **kwargs: Any) -> Any:
    """Return a parameter set that carries the id of an acceptance row."""
    return pytest.param(*values, kwargs, marks=pytest.mark.row(id_), id=id_)


@pytest.mark.row("ACC-8")
@pytest.mark.parametrize(
    ("place", "beside", "index", "group"),
    [
        row("POD-10", 0, (0, 1, 2, 3, 4), "0", size=5),
        row("POD-12", 0, (0, 1, 2, 3, 4), "0", size=5, subgroup_size=5),
        row("POD-13", 3, (0, 1, 2, 3, 4), "3", size=5),
        row("POD-14", 3, (0, 1, 2, 3, 4), "3", size=10, subgroup_size=5),
        row("POD-15", 3, (1, 2, 3, 4), "2", size=5, leader_asks=False),
        row("POD-16", 7, (6, 7, 8, 9, 10), "1", size=11, subgroup_size=5, leader_asks=False),
        row("POD-17", 1, (0, 1), "1", size=2),
        row("POD-18", 0, (0,), "0", size=1),
    ],
)
def test_a_pod_is_told_of_the_processes_beside_it(
    pods: support.Pods,
    place: int,
    beside: tuple[int, ...],
    index: str,
    group: dict[str, Any],
) -> None:
    (container,) = pods.accept(tpu.member(pods, place, **group))["spec"]["containers"]
    assert tpu.told(container) == {
        "TPU_WORKER_HOSTNAMES": tpu.hosts(*beside),
        "TPU_WORKER_ID": index,
        "TPU_NAME": "test-sample-1",
        "TPU_PROCESS_ADDRESSES": ",".join(f"{tpu.hosts(other)}:8476" for other in beside),
        "TPU_PROCESS_PORT": "8476",
    }


@pytest.mark.row("UT-43")
@pytest.mark.parametrize(
    ("place", "beside", "index", "group"),
    [
        (7, (4, 5, 6, 7), "3", {"size": 8, "subgroup_size": 4}),
        (5, (5, 6, 7, 8), "0", {"size": 9, "subgroup_size": 4, "leader_asks": False}),
        (2, (2,), "0", {"size": 3, "subgroup_size": 1}),
        (2, (2,), "0", {"size": 3, "subgroup_size": 1, "leader_asks": False}),
        (3, (3, 4), "0", {"size": 5, "subgroup_size": 2, "leader_asks": False}),
        (2, (0, 1, 2), "2", {"size": 6, "subgroup_size": 3}),
        (2, (1, 2), "1", {"size": 5, "subgroup_size": 2, "leader_asks": False}),
        # Only size - 1 can be divided, and the leader asks: upstream's numbers do not fit together,
        # and clients may rely on them as they are.
        (0, (0, 1), "0", {"size": 5, "subgroup_size": 2}),
        (2, (0, 1), "0", {"size": 5, "subgroup_size": 2}),
        (4, (2, 3), "0", {"size": 5, "subgroup_size": 2}),
    ],
)
def test_a_pod_of_a_subgroup_is_told_of_that_subgroup(
    pods: support.Pods,
    place: int,
    beside: tuple[int, ...],
    index: str,
    group: dict[str, Any],
) -> None:
    (container,) = pods.accept(tpu.member(pods, place, **group))["spec"]["containers"]
    found = tpu.told(container)
    assert (found["TPU_WORKER_HOSTNAMES"], found["TPU_WORKER_ID"]) == (tpu.hosts(*beside), index)


@pytest.mark.row("UT-43")
def test_workers_whose_leader_is_excluded_are_told_of_their_subgroups(pods: support.Pods) -> None:
    excluded = {names.SUBGROUP_POLICY_TYPE: "LeaderExcluded"}
    for place, beside, index in ((1, (1, 2), "0"), (2, (1, 2), "1"), (4, (3, 4), "1")):
        given = tpu.member(pods, place, subgroup_size=2, leader_asks=False, annotations=excluded)
        found = tpu.told(pods.accept(given)["spec"]["containers"][0])
        assert (found["TPU_WORKER_HOSTNAMES"], found["TPU_WORKER_ID"]) == (
            tpu.hosts(*beside),
            index,
        )


@pytest.mark.row("POD-11", "UT-41")
def test_a_leader_with_a_subdomain_of_its_own_is_found_there(pods: support.Pods) -> None:
    unique = {names.SUBDOMAIN_POLICY: "UniquePerReplica"}
    (container,) = pods.accept(tpu.member(pods, 0, annotations=unique))["spec"]["containers"]
    expected = tpu.hosts(0, 1, 2, 3, 4, subdomain="test-sample-1")
    assert tpu.told(container)["TPU_WORKER_HOSTNAMES"] == expected
    address = f"test-sample-1.test-sample-1.{pods.namespace}"
    assert support.env(container)[0] == ("LWS_LEADER_ADDRESS", address)


# With subgroups, the processes have to be divided evenly: no model where they are not.
LAYOUTS = [
    (size, subgroup_size, leader_asks)
    for size, subgroup_size in (
        *((2, 0), (3, 0), (6, 0), (2, 1), (4, 1), (4, 2)),
        *((5, 2), (6, 3), (7, 3), (8, 4), (11, 5)),
    )
    for leader_asks in (True, False)
    if not subgroup_size or (size if leader_asks else size - 1) % subgroup_size == 0
]


@pytest.mark.row("ACC-8", "UT-41", "UT-43")
@pytest.mark.parametrize(("size", "subgroup_size", "leader_asks"), LAYOUTS)
def test_every_member_is_told_what_the_model_says(
    pods: support.Pods, size: int, subgroup_size: int, leader_asks: bool
) -> None:
    containers = [
        support.tpu_container("a"),
        support.tpu_container("b", TPU_PROCESS_PORT="9000"),
        support.tpu_container("c"),
    ]
    for processes in (1, 3):
        expected = model.Tpu(
            leader="test-sample-1",
            subdomain="default",
            size=size,
            leader_asks=leader_asks,
            subgroup_size=subgroup_size,
            ports=["8476", "9000", "8478"][:processes],
        )
        for place in range(0 if leader_asks else 1, size):
            given = tpu.member(
                pods,
                place,
                size=size,
                subgroup_size=subgroup_size,
                leader_asks=leader_asks,
                containers=[tpu.IDLE, *containers[:processes]],
            )
            idle, *found = pods.accept(given)["spec"]["containers"]
            variables = expected.variables(place)
            assert [tpu.told(c) for c in found[: len(variables)]] == variables
            for untold in (idle, *found[len(variables) :]):
                assert set(tpu.told(untold)) <= {"TPU_PROCESS_PORT"}


# Which containers, and in which order --------------------------------------------------------


@pytest.mark.row("POD-07")
def test_a_pod_of_nobody_gets_no_variables(pods: support.Pods) -> None:
    given = pods.build("test", labels={}, spec={"containers": [tpu.ASKING]})
    assert "env" not in pods.accept(given)["spec"]["containers"][0]


@pytest.mark.row("POD-19")
def test_only_the_container_that_asks_gets_variables(pods: support.Pods) -> None:
    given = tpu.member(pods, 0, size=1, containers=[tpu.IDLE, tpu.ASKING])
    idle, asking = pods.accept(given)["spec"]["containers"]
    assert [name for name, _ in support.env(idle)] == tpu.LWS_VARIABLES
    assert [name for name, _ in support.env(asking)] == tpu.LWS_VARIABLES + tpu.TPU_VARIABLES


@pytest.mark.row("UT-44")
@pytest.mark.parametrize("with_request", [False, True])
@pytest.mark.parametrize("amount", [4, "4", "1k"])
@pytest.mark.parametrize("init", [False, True])
def test_what_a_container_of_any_kind_asks_for_counts(
    pods: support.Pods, with_request: bool, amount: Any, init: bool
) -> None:
    asking = support.tpu_container(amount=amount)
    if with_request:
        asking["resources"]["requests"] = asking["resources"]["limits"]
    given = tpu.member(
        pods,
        1,
        size=2,
        containers=[tpu.IDLE] if init else [tpu.IDLE, asking],
        init_containers=[asking] if init else [],
    )
    spec = pods.accept(given)["spec"]
    (found,) = (c for c in (*spec["containers"], *spec.get("initContainers", ())) if tpu.told(c))
    assert found["name"] == "tpu"
    assert tpu.told(found)["TPU_WORKER_ID"] == "1"


@pytest.mark.row("UT-44")
def test_no_pod_has_a_request_without_a_limit(pods: support.Pods) -> None:
    # Kubernetes itself refuses it, so that a request counts as well cannot be seen on a pod.
    asking = support.tpu_container(kind="requests")
    with support.refused() as refusal:
        pods.accept(tpu.member(pods, 1, size=2, containers=[asking]))
    assert refusal.fields == ("spec.containers[0].resources.limits",)


@pytest.mark.row("UT-41", "UT-44", "POD-08", "POD-09")
@pytest.mark.parametrize("amount", [None, 0, "0"])
@pytest.mark.parametrize("place", [0, 1])
def test_asking_for_nothing_gets_nothing(pods: support.Pods, place: int, amount: Any) -> None:
    container = support.tpu_container(amount=amount) if amount is not None else tpu.IDLE
    (stored,) = pods.accept(tpu.member(pods, place, containers=[container]))["spec"]["containers"]
    assert [name for name, _ in support.env(stored)] == tpu.LWS_VARIABLES


@pytest.mark.row("UT-41", "ACC-8")
def test_each_process_has_a_number_and_a_port(pods: support.Pods) -> None:
    containers = [support.tpu_container("a"), tpu.IDLE, support.tpu_container("b")]
    both = "test-sample-1.default,test-sample-1.default"
    names_ = f"{both},test-sample-1-1.default,test-sample-1-1.default"
    addresses = ",".join(
        f"{host}:{port}"
        for host in ("test-sample-1.default", "test-sample-1-1.default")
        for port in (8476, 8477)
    )
    for place, ids in ((0, ("0", "1")), (1, ("2", "3"))):
        given = tpu.member(pods, place, size=2, containers=containers)
        first, idle, second = pods.accept(given)["spec"]["containers"]
        assert not tpu.told(idle)
        for index, container in enumerate((first, second)):
            assert tpu.told(container) == {
                "TPU_WORKER_HOSTNAMES": names_,
                "TPU_WORKER_ID": ids[index],
                "TPU_NAME": "test-sample-1",
                "TPU_PROCESS_ADDRESSES": addresses,
                "TPU_PROCESS_PORT": str(8476 + index),
            }


@pytest.mark.row("UT-41")
def test_init_containers_come_after_containers(pods: support.Pods) -> None:
    given = tpu.member(
        pods,
        1,
        size=2,
        leader_asks=False,
        init_containers=[support.tpu_container("init"), tpu.IDLE],
        containers=[support.tpu_container("main")],
    )
    spec = pods.accept(given)["spec"]
    (main,), (init, idle) = spec["containers"], spec["initContainers"]
    assert [tpu.told(c)["TPU_WORKER_ID"] for c in (main, init)] == ["0", "1"]
    assert [tpu.told(c)["TPU_PROCESS_PORT"] for c in (main, init)] == ["8476", "8477"]
    assert [name for name, _ in support.env(init)] == tpu.LWS_VARIABLES + tpu.TPU_VARIABLES
    assert not tpu.told(idle)


@pytest.mark.row("UT-41", "UT-32")
def test_ports_of_the_user_are_kept_and_told(pods: support.Pods) -> None:
    containers = [
        support.tpu_container("a", TPU_PROCESS_PORT="8478", OWN="x"),
        support.tpu_container("b", TPU_PROCESS_PORT="8479"),
    ]
    stored = pods.accept(tpu.member(pods, 0, size=2, containers=containers))["spec"]["containers"]
    for container, port in zip(stored, ("8478", "8479"), strict=True):
        assert tpu.told(container)["TPU_PROCESS_PORT"] == port
        assert tpu.told(container)["TPU_PROCESS_ADDRESSES"] == (
            "test-sample-1.default:8478,test-sample-1.default:8479,"
            "test-sample-1-1.default:8478,test-sample-1-1.default:8479"
        )
    # The user's come before ours, and a name stands once.
    assert [name for name, _ in support.env(stored[0])] == [
        *tpu.LWS_VARIABLES,
        "TPU_PROCESS_PORT",
        "OWN",
        *tpu.TPU_VARIABLES[:4],
    ]


@pytest.mark.row("UT-32")
def test_a_port_that_is_no_literal_is_nobodys_to_tell(pods: support.Pods) -> None:
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    asking = tpu.ASKING | {"env": [{"name": "TPU_PROCESS_PORT", "valueFrom": source}]}
    (stored,) = pods.accept(tpu.member(pods, 0, size=1, containers=[asking]))["spec"]["containers"]
    assert tpu.told(stored)["TPU_PROCESS_ADDRESSES"] == "test-sample-1.default:"
    assert stored["env"][3] == {"name": "TPU_PROCESS_PORT", "valueFrom": source}


@pytest.mark.row("UT-43")
def test_of_a_subgroup_only_the_first_container_gets_variables(pods: support.Pods) -> None:
    containers = [
        support.tpu_container("a", TPU_PROCESS_PORT="9000"),
        support.tpu_container("b"),
    ]
    given = tpu.member(pods, 1, size=4, subgroup_size=2, containers=containers)
    first, second = pods.accept(given)["spec"]["containers"]
    assert tpu.told(first) == {
        "TPU_WORKER_HOSTNAMES": tpu.hosts(0, 1),
        "TPU_WORKER_ID": "1",
        "TPU_NAME": "test-sample-1",
        "TPU_PROCESS_ADDRESSES": "test-sample-1.default:9000,test-sample-1-1.default:9000",
        "TPU_PROCESS_PORT": "9000",
    }
    assert not tpu.told(second)


@pytest.mark.row("UT-42")
@pytest.mark.parametrize("variable", ["TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES"])
@pytest.mark.parametrize("subgroup_size", [0, 5])
def test_a_pod_that_brings_its_own_variables_gets_none(
    pods: support.Pods, variable: str, subgroup_size: int
) -> None:
    containers = [support.tpu_container("a", **{variable: "7"}), support.tpu_container("b")]
    for place in (0, 3):
        given = tpu.member(pods, place, subgroup_size=subgroup_size, containers=containers)
        first, second = pods.accept(given)["spec"]["containers"]
        assert tpu.told(first) == {variable: "7"}
        assert not tpu.told(second)


def test_other_tpu_variables_of_the_user_stay_and_win(pods: support.Pods) -> None:
    asking = support.tpu_container(TPU_NAME="mine", TPU_PROCESS_ADDRESSES="elsewhere")
    (stored,) = pods.accept(tpu.member(pods, 0, size=1, containers=[asking]))["spec"]["containers"]
    assert support.env(stored)[3:] == [
        ("TPU_NAME", "mine"),
        ("TPU_PROCESS_ADDRESSES", "elsewhere"),
        ("TPU_WORKER_HOSTNAMES", "test-sample-1.default"),
        ("TPU_WORKER_ID", "0"),
        ("TPU_PROCESS_PORT", "8476"),
    ]


def test_a_second_run_changes_nothing(pods: support.Pods) -> None:
    for place in (0, 3):
        for subgroup_size in (0, 5):
            once = pods.accept(tpu.member(pods, place, subgroup_size=subgroup_size))
            for field in ("uid", "creationTimestamp", "managedFields", "generation"):
                once["metadata"].pop(field, None)
            twice = pods.accept(once)
            assert twice["metadata"]["labels"] == once["metadata"]["labels"]
            assert twice["spec"] == once["spec"]
