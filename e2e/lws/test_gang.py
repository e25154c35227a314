"""Gang scheduling by Volcano: a PodGroup for each group (lws-contract 3.7 and 6.5).

The cluster serves PodGroups and has the policy that names them on pods, and the controller has
the setting; Volcano itself does not run. So pods go to the default scheduler, but for those of the
example, which asks for Volcano's: a test binds them by hand.
"""

from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws import checks, podgroups, sets
from tests.kit.lws.sample import LWS, Sample, create

CONFIGURATION = {"gangSchedulingManagement": {"schedulerProvider": "volcano"}}


@pytest.fixture(scope="module")
def ganged(
    cluster: sandbox.Sandbox,
    backend: sandbox.Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[sandbox.Sandbox]:
    """A cluster of its own: the policy changes every pod of every set.

    The shared cluster is asked for first: where none can be had, that one says why.
    """
    if backend == "kubeconfig":
        pytest.skip("the policy would change the pods of all sets of the given cluster")
    folder = tmp_path_factory.mktemp("gang")
    with sandbox.open(backend, options=sandbox.Options(nodes=4, audit_log=False)) as own:
        podgroups.define(own)
        harness.install(own, "--gang-scheduling", "volcano")
        process = harness.ControllerProcess(
            kubeconfig=own.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=folder / "controller.log",
            configuration=CONFIGURATION,
        )
        process.start()
        yield own
        print(process.tail())
        process.stop()


@pytest.fixture
def room(ganged: sandbox.Sandbox) -> Iterator[str]:
    """A namespace of that cluster."""
    with sets.namespaced(ganged, "gang") as name:
        yield name


@pytest.mark.row("GANG-01", "CTL-52", "ACC-7")
def test_every_group_has_a_pod_group_of_all_its_members(ganged: sandbox.Sandbox, room: str) -> None:
    sample = create(ganged, room, size=4)
    sets.wait_available(sample, groups=2)
    podgroups.check(sample, members=4, resources={"cpu": "40m"})
    checks.pods(sample)


@pytest.mark.row("GANG-02")
def test_a_leader_that_starts_before_its_workers_is_a_gang_of_one(
    ganged: sandbox.Sandbox, room: str
) -> None:
    sample = create(ganged, room, size=4, startupPolicy="LeaderReady")
    sets.wait_available(sample, groups=2)
    podgroups.check(sample, members=1, resources={"cpu": "40m"})
    checks.pods(sample)


@pytest.mark.row("GANG-04")
def test_a_larger_size_gives_every_group_a_larger_pod_group(
    ganged: sandbox.Sandbox, room: str
) -> None:
    sample = create(ganged, room)
    sets.wait_available(sample, groups=2)
    podgroups.check(sample, members=2, resources={"cpu": "20m"})
    sample.patch({"leaderWorkerTemplate": {"size": 4}})
    sets.wait_available(sample, groups=2)
    checks.eventually(podgroups.check, sample, members=4, resources={"cpu": "40m"})
    pods = sample.pods().values()
    assert {pod["metadata"]["annotations"][names.SIZE] for pod in pods} == {"4"}


@pytest.mark.row("CTL-53")
def test_each_new_leader_has_its_pod_group_before_the_next_one_is_replaced(
    ganged: sandbox.Sandbox, room: str
) -> None:
    sample = create(ganged, room, replicas=3, held=True)
    checks.eventually(checks.worker_sets, sample)
    sample.release(0, 1, 2)
    sets.wait_available(sample, groups=3)
    sample.change_templates("2")
    key = checks.revision_key(sample.get())
    for updated, group in enumerate((2, 1, 0), start=1):
        checks.eventually(checks.stage, sample, expected=(group, 3, 2, updated))
        found = podgroups.of_set(sample)[f"{sample.name}-{group}-{key}"]
        podgroups.check_one(found, leader=sample.leader(group))
        sample.release(group)
    sets.wait_available(sample, groups=3)
    podgroups.check(sample, members=2, resources={"cpu": "20m"})


@pytest.mark.long
@pytest.mark.parametrize("failed", ["0", "0-1"])
def test_a_group_that_is_made_anew_has_a_pod_group_of_its_new_leader(
    ganged: sandbox.Sandbox, room: str, failed: str
) -> None:
    sample = create(ganged, room)
    sets.wait_available(sample, groups=2)
    before = podgroups.of_set(sample)
    sample.delete_pod(f"{sample.name}-{failed}")

    def is_made_anew() -> None:
        podgroups.check(sample, members=2, resources={"cpu": "20m"})
        after = podgroups.of_set(sample)
        same = {name for name in before if sets.uids(after)[name] == sets.uids(before)[name]}
        assert same == {name for name in before if name.startswith(f"{sample.name}-1-")}

    checks.eventually(is_made_anew)
    sets.wait_available(sample, groups=2)
    is_made_anew()


@pytest.mark.row("SMP-08")
def test_the_example_waits_for_volcano_with_everything_that_volcano_needs(
    ganged: sandbox.Sandbox, room: str
) -> None:
    sample = sets.create(ganged, *sets.example("gang-scheduling.yaml", namespace=room))
    checks.eventually(checks.pods, sample)
    checks.eventually(podgroups.check, sample, members=4, resources={"cpu": "200m"})
    found = podgroups.of_set(sample)
    assert len(found) == 2
    assert {pod_group["spec"]["queue"] for pod_group in found.values()} == {"default"}
    pods = sample.pods()
    assert {pod["spec"]["schedulerName"] for pod in pods.values()} == {"volcano"}
    assert not any(pod["spec"].get("nodeName") for pod in pods.values())
    for name in pods:
        bind(ganged, name, namespace=room, node="node-0")
    sets.wait_available(sample, groups=2)


def bind(cluster: sandbox.Sandbox, pod: str, *, namespace: str, node: str) -> None:
    """Give a pod its node, as its scheduler would."""
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod, "namespace": namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    cluster.api.request("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/binding", body=binding)


# Garbage collection gets to know a new kind within half a minute, so what waits for it comes last.


@pytest.mark.row("GANG-05")
def test_an_update_replaces_the_pod_groups(ganged: sandbox.Sandbox, room: str) -> None:
    sample = create(ganged, room, size=3)
    sets.wait_available(sample, groups=2)
    before = podgroups.of_set(sample)
    sample.change_templates("2")
    sets.wait_available(sample, groups=2)
    checks.eventually(podgroups.check, sample, members=3, resources={"cpu": "30m"})
    checks.eventually(is_left_with, sample, groups=2)
    assert not podgroups.of_set(sample).keys() & before.keys()


def is_left_with(sample: Sample, *, groups: int) -> None:
    """PodGroups of former leaders are gone with them."""
    assert len(podgroups.of_set(sample)) == groups


@pytest.mark.row("GANG-03")
def test_pod_groups_go_with_their_set(ganged: sandbox.Sandbox, room: str) -> None:
    sample = create(ganged, room, replicas=1)
    sets.wait_available(sample, groups=1)
    assert len(podgroups.of_set(sample)) == 1
    ganged.api.delete(*LWS, sample.name, namespace=room, propagation="Foreground")
    checks.eventually(is_left_with, sample, groups=0)
    ganged.api.wait_for(*LWS, sample.name, lambda seen: seen is None, namespace=room)
