"""Sets that ask for TPUs, and one that does not: what their containers know of each other.

The pods need not run for that: nodes without TPUs leave them unscheduled (lws-contract 6.5, 2.5).
"""

from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws import sets, tpus
from tests.kit.lws.sample import Object, Sample


def whole(sample: Sample) -> dict[str, Object]:
    """Return the pods of a set once all of them are there."""
    spec = sample.get()["spec"]
    count = spec["replicas"] * spec["leaderWorkerTemplate"]["size"]
    sample.cluster.api.wait_for_all(
        *sets.POD,
        lambda seen: len(seen) == count,
        namespace=sample.namespace,
        label_selector=f"{names.SET_NAME}={sample.name}",
        what=f"{count} pods of {sample.name}",
    )
    return sample.pods()


def with_tpus(name: str, *, namespace: str, containers: int = 1, **options: Any) -> Object:
    """Return the base set with templates whose containers ask for a TPU each."""
    made = sets.named(name, namespace=namespace, **options)
    for template in sets.templates(made):
        (container,) = template["spec"]["containers"]
        container.pop("ports", None)
        template["spec"]["containers"] = [
            container | {"name": f"{container['name']}-{at}"} for at in range(containers)
        ]
        tpus.request(template)
    return made


@pytest.fixture(scope="module")
def made(
    installed: sandbox.Sandbox, shared_controller: harness.ControllerProcess
) -> Iterator[dict[str, Sample]]:
    """The sets of these rows, made all at once."""
    if not shared_controller.running:
        shared_controller.start()
    subgroups = {"subGroupPolicyType": "LeaderWorker", "subGroupSize": 2}
    with sets.namespaced(installed, "tpu") as namespace:
        bodies = (
            with_tpus("hosts", namespace=namespace, size=4),
            with_tpus("two", namespace=namespace, containers=2),
            with_tpus("parts", namespace=namespace, size=4, template={"subGroupPolicy": subgroups}),
            with_tpus("moved", namespace=namespace, replicas=1),
            sets.named("none", namespace=namespace),
        )
        yield {body["metadata"]["name"]: sets.create(installed, body) for body in bodies}
        print(shared_controller.tail())


@pytest.mark.row("E2E-10")
def test_every_pod_of_a_group_knows_its_tpu_hosts_and_its_rank(made: dict[str, Sample]) -> None:
    pods = whole(made["hosts"])
    for group in range(2):
        leader = f"hosts-{group}"
        members = [leader, *(f"{leader}-{worker}" for worker in (1, 2, 3))]
        for rank, name in enumerate(members):
            tpus.pod(pods[name], members=members, first=rank, leader=leader, domain="hosts")


@pytest.mark.row("E2E-11", "ACC-8")
def test_each_of_two_tpu_containers_has_an_id_and_a_port_of_its_own(
    made: dict[str, Sample],
) -> None:
    pods = whole(made["two"])
    for group in range(2):
        leader = f"two-{group}"
        members = [leader, f"{leader}-1"]
        tpus.pod(pods[leader], members=members, first=0, leader=leader, domain="two")
        tpus.pod(pods[f"{leader}-1"], members=members, first=2, leader=leader, domain="two")
    first, second = (tpus.variables(c) for c in pods["two-0-1"]["spec"]["containers"])
    assert first["TPU_WORKER_HOSTNAMES"] == "two-0.two,two-0.two,two-0-1.two,two-0-1.two"
    assert (first["TPU_WORKER_ID"], first["TPU_PROCESS_PORT"]) == ("2", "8476")
    assert (second["TPU_WORKER_ID"], second["TPU_PROCESS_PORT"]) == ("3", "8477")


@pytest.mark.row("E2E-08")
def test_the_hosts_of_a_subgroup_know_only_each_other(made: dict[str, Sample]) -> None:
    pods = whole(made["parts"])
    assert len(pods) == 8
    for group in range(2):
        leader = f"parts-{group}"
        subgroups = ([leader, f"{leader}-1"], [f"{leader}-2", f"{leader}-3"])
        for index, members in enumerate(subgroups):
            found = [pods[name] for name in members]
            for rank, pod in enumerate(found):
                tpus.pod(pod, members=members, first=rank, leader=leader, domain="parts")
                labels, annotations = pod["metadata"]["labels"], pod["metadata"]["annotations"]
                assert labels[names.SUBGROUP_INDEX] == str(index)
                assert annotations[names.SUBGROUP_SIZE] == "2"
                assert annotations[names.SUBGROUP_POLICY_TYPE] == "LeaderWorker"
            assert len({pod["metadata"]["labels"][names.SUBGROUP_KEY] for pod in found}) == 1
    # Keys are opaque, but no two subgroups share one.
    assert len({pod["metadata"]["labels"][names.SUBGROUP_KEY] for pod in pods.values()}) == 4


@pytest.mark.row("E2E-13")
def test_tpu_host_names_follow_the_subdomain_policy_there_and_back(
    made: dict[str, Sample],
) -> None:
    sample = made["moved"]
    members = ["moved-0", "moved-0-1"]
    for policy, domain in (
        ("Shared", "moved"),
        ("UniquePerReplica", "moved-0"),
        ("Shared", "moved"),
    ):
        if sample.get()["spec"]["networkConfig"]["subdomainPolicy"] != policy:
            sample.patch({"networkConfig": {"subdomainPolicy": policy}})
        sample.cluster.api.wait_for_all(
            *sets.POD,
            lambda seen, domain=domain: (  # type: ignore[misc]
                sorted(seen) == members
                and all(pod["spec"]["subdomain"] == domain for pod in seen.values())
            ),
            namespace=sample.namespace,
            label_selector=f"{names.SET_NAME}={sample.name}",
            what=f"both pods in {domain}",
        )
        pods = sample.pods()
        for rank, name in enumerate(members):
            tpus.pod(pods[name], members=members, first=rank, leader="moved-0", domain=domain)


@pytest.mark.row("E2E-15")
def test_a_set_that_asks_for_no_tpus_has_no_tpu_variables(made: dict[str, Sample]) -> None:
    for pod in whole(made["none"]).values():
        tpus.none(pod)
