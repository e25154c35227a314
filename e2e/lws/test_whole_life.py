"""Sets from their creation to their end, as upstream's end-to-end tests go through it.

(lws-contract 6.5; rolling updates with surge groups are in `test_surge`, TPUs in `test_tpu`.)
"""

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import stages

from lws_kueue.api import names
from tests.kit.lws import checks, sets
from tests.kit.lws.sample import LWS, Sample, base, create, group_of, rollout

pytestmark = pytest.mark.usefixtures("controller")


def assert_identity(sample: Sample, *, replicas: int, size: int) -> None:
    """Every pod says which set, group and place are its own, by its name and by its labels."""
    pods = sample.pods()
    expected = {}
    for group in range(replicas):
        leader = f"{sample.name}-{group}"
        expected[leader] = (leader, 0)
        expected |= {f"{leader}-{worker}": (leader, worker) for worker in range(1, size)}
    assert pods.keys() == expected.keys()
    key = checks.revision_key(sample.get())
    for name, (leader, worker) in expected.items():
        labels, annotations = (pods[name]["metadata"][field] for field in ("labels", "annotations"))
        assert labels[names.SET_NAME] == sample.name
        assert labels[names.GROUP_INDEX] == str(group_of(leader))
        assert labels[names.WORKER_INDEX] == str(worker)
        assert labels[names.REVISION_KEY] == key
        assert annotations[names.SIZE] == str(size)
        assert annotations.get(names.LEADER_NAME) == (leader if worker else None)


@pytest.mark.row("E2E-01")
def test_every_pod_of_four_groups_of_five_knows_its_place(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = create(installed, namespace, replicas=4, size=5, template={"restartPolicy": "None"})
    sets.wait_available(sample, groups=4)
    assert len(sample.stateful_sets()) == 5
    checks.leader_set(sample, replicas=4)
    checks.worker_sets(sample)
    checks.services(sample, count=1)
    checks.pods(sample)
    assert_identity(sample, replicas=4, size=5)


@pytest.mark.long
@pytest.mark.row("E2E-04")
def test_a_changed_worker_template_replaces_every_pod_of_every_group(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = create(installed, namespace)
    sets.wait_available(sample, groups=2)
    before = sets.uids(sample.pods())
    sample.change_templates("2", worker="renamed")
    sets.wait_available(sample, groups=2)
    checks.leader_set(sample, replicas=2)
    checks.worker_sets(sample)
    checks.eventually(checks.pods, sample)
    after = sets.uids(sample.pods())
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())


@pytest.mark.row("E2E-07")
def test_an_image_that_cannot_be_pulled_is_replaced_by_one_that_can(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    body = base(namespace, size=1, rolloutStrategy=rollout(unavailable=0, surge=1))
    del body["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    (template,) = sets.templates(body)
    (container,) = template["spec"]["containers"]
    works, container["image"] = container["image"], "registry.example/missing:1"
    # On a node that kwok plays every image is there.
    template["metadata"]["annotations"] = {stages.BEHAVIOUR: stages.NEVER_READY}
    sample = sets.create(installed, body)
    checks.eventually(checks.stage, sample, expected=(0, 2, 0, 2))
    checks.eventually(checks.pods, sample)
    sample.patch(
        {
            "leaderWorkerTemplate": {
                "workerTemplate": {
                    "metadata": {"annotations": {stages.BEHAVIOUR: None}},
                    "spec": {"containers": [container | {"image": works}]},
                }
            }
        }
    )
    # Nothing may be unavailable, but nothing is available: broken groups are replaced for free.
    sets.wait_available(sample, groups=2)
    checks.eventually(checks.pods, sample)
    assert {pod["spec"]["containers"][0]["image"] for pod in sample.pods().values()} == {works}


@pytest.mark.row("E2E-12")
def test_a_larger_size_makes_every_group_anew_with_one_more_worker(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = create(installed, namespace)
    sets.wait_available(sample, groups=2)
    sample.patch({"leaderWorkerTemplate": {"size": 3}})
    sets.wait_available(sample, groups=2)
    checks.leader_set(sample, replicas=2)
    checks.worker_sets(sample)
    checks.eventually(checks.pods, sample)
    assert_identity(sample, replicas=2, size=3)


@pytest.mark.row("E2E-03")
def test_a_set_that_is_deleted_in_the_foreground_goes_last(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    sample = create(installed, namespace)
    sets.wait_available(sample, groups=2)
    installed.api.delete(*LWS, sample.name, namespace=namespace, propagation="Foreground")
    installed.api.wait_for(
        *LWS, sample.name, lambda seen: seen is None, namespace=namespace, what="the set is gone"
    )
    assert not sample.stateful_sets()
    assert not sample.pods()
    assert not sample.services()
