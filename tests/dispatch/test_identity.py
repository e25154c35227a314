"""Names in workers are computed, and marks say whose an object is."""

import pytest

from lws_kueue.api import facts, names
from lws_kueue.dispatch import identity, remote_objects
from tests.kit.builders import dispatched as made

MANAGER = identity.Manager("11111111-2222-3333-4444-555555555555", "lws-kueue-11111111")
SAMPLE = identity.GroupId("default", "sample", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", 2)


@pytest.mark.row("MK-14")
def test_names_are_those_of_the_protocol() -> None:
    assert identity.set_name(MANAGER, SAMPLE) == "sample-2-6be3b39dd6"
    assert identity.workload_name(MANAGER, SAMPLE) == "leaderworkerset-sample-2-6be3b39dd6-0-803b1"
    assert identity.default_origin(MANAGER.uid) == MANAGER.origin


@pytest.mark.row("MK-14", "MK-48")
@pytest.mark.parametrize(
    "other",
    [
        identity.GroupId("other", "sample", SAMPLE.set_uid, 2),
        identity.GroupId("default", "sample", "another-uid", 2),
        identity.GroupId("default", "sample-2", SAMPLE.set_uid, 2),
        identity.GroupId("default", "s" * 63, SAMPLE.set_uid, 1_000_000),
    ],
)
def test_groups_of_other_sets_have_other_names_and_all_of_them_fit(
    other: identity.GroupId,
) -> None:
    name = identity.set_name(MANAGER, other)
    assert name != identity.set_name(MANAGER, SAMPLE)
    assert len(name) <= 39


@pytest.mark.row("MK-59")
def test_only_both_marks_make_an_object_ours() -> None:
    labels, annotations = (
        identity.labels(MANAGER, SAMPLE),
        identity.annotations(MANAGER, SAMPLE),
    )
    both = {"metadata": {"namespace": "default", "labels": labels, "annotations": annotations}}
    assert identity.is_ours(facts.Meta.of(both), MANAGER)
    assert identity.group_of(facts.Meta.of(both)) == SAMPLE
    assert not identity.is_ours(facts.Meta.of({"metadata": {"labels": labels}}), MANAGER)
    another = {**annotations, names.MANAGER: "another-manager"}
    theirs = {"metadata": {"labels": labels, "annotations": another}}
    assert not identity.is_ours(facts.Meta.of(theirs), MANAGER)
    assert identity.group_of(facts.Meta.of({"metadata": {"labels": labels}})) is None


@pytest.mark.row("MK-08")
def test_a_group_runs_as_a_set_of_one_that_is_gated_by_its_own_templates() -> None:
    owner = made.owner(**{"kueue.x-k8s.io/pod-group-name": "x", "mine": "y"})
    asked = remote_objects.Asked(made.MANAGER, made.GROUP, owner, "k1", made.OPTIONS)
    body = remote_objects.one_group(asked)
    assert body["spec"]["replicas"] == 1
    template = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    assert template["spec"]["schedulingGates"][0] == {"name": names.ADMISSION_GATE}
    assert template["metadata"]["annotations"] == {"mine": "y"}
    assert template["metadata"]["labels"] == {
        names.ORIGIN_SET: "serve",
        names.ORIGIN_GROUP_INDEX: "0",
    }
    assert body["metadata"]["annotations"][names.MULTIKUEUE_ORIGIN_UID] == "set-uid"
    assert owner.stored_spec["leaderWorkerTemplate"]["workerTemplate"]["spec"].keys() == {
        "containers"
    }


@pytest.mark.row("MK-09")
def test_topology_is_asked_for_in_the_worker_alone() -> None:
    owner = made.owner(**{names.PODSET_REQUIRED_TOPOLOGY: "rack"})
    offer = made.offer(made_from=owner)
    assert offer.spec.pod_sets[0].topology_request is not None
    assert "topologyRequest" not in made.made(made_from=owner)["spec"]["podSets"][0]
    assert offer.meta.owners[0].kind == "Lease"
    assert not offer.meta.finalizers
    assert names.JOB_UID not in offer.meta.labels
