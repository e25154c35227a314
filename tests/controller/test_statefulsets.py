from collections.abc import Mapping
from typing import Any

import pytest

from lws_kueue.api import facts, lws, names
from lws_kueue.controller.objects import services, statefulsets
from lws_kueue.controller.revision import revisions
from lws_kueue.controller.rollout import scaling
from tests.kit import golden
from tests.kit.builders import given

# What the API server adds to a StatefulSet.
_DEFAULTS: dict[str, Any] = {
    "revisionHistoryLimit": 10,
    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    "updateStrategy": {"rollingUpdate": {"partition": 0}, "type": "RollingUpdate"},
}
_POD_DEFAULTS = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
}
_CONTAINER_DEFAULTS = {
    "imagePullPolicy": "IfNotPresent",
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_CLAIM_DEFAULTS = {"volumeMode": "Filesystem"}

# The marks that the recordings have and a set of ours has not (README.md of the recordings).
_MARKED_LABELS = {"managed", "queue-name", "priority-class"}
_MARKED_ANNOTATIONS = {"pod-suspending-parent", "pod-group-serving", "pod-index-offset"}


def as_stored(rendered: Mapping[str, Any]) -> dict[str, Any]:
    """Return a StatefulSet with what the API server adds, and without what it drops."""
    spec = _DEFAULTS | dict(rendered["spec"])
    # The feature gate of the field is off where the recordings were made.
    rolling = {"partition": spec["updateStrategy"]["rollingUpdate"]["partition"]}
    spec["updateStrategy"] = spec["updateStrategy"] | {"rollingUpdate": rolling}
    pod = _POD_DEFAULTS | spec["template"]["spec"]
    pod["containers"] = [_CONTAINER_DEFAULTS | container for container in pod["containers"]]
    spec["template"] = spec["template"] | {"spec": pod}
    if "volumeClaimTemplates" in spec:
        spec["volumeClaimTemplates"] = [
            claim | {"spec": _CLAIM_DEFAULTS | claim["spec"], "status": {"phase": "Pending"}}
            for claim in spec["volumeClaimTemplates"]
        ]
    return {**rendered, "spec": spec}


def without_marks(obj: Any) -> Any:
    """Return an object without the marks of Kueue's built-in integration, at any depth."""
    if isinstance(obj, list):
        return [without_marks(item) for item in obj]
    if not isinstance(obj, Mapping):
        return obj
    marks = {names.KUEUE_PREFIX + mark for mark in _MARKED_LABELS | _MARKED_ANNOTATIONS}
    kept = {key: without_marks(value) for key, value in obj.items() if key not in marks}
    return {key: value for key, value in kept.items() if value or key not in _MAY_BE_EMPTY}


_MAY_BE_EMPTY = {"labels", "annotations"}


def recorded(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recorded StatefulSet without what is not rendered: its uid and its status."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "uid"}
    cleaned: dict[str, Any] = without_marks(
        {**{k: v for k, v in obj.items() if k != "status"}, "metadata": metadata}
    )
    return cleaned


def without_gate(rendered: Mapping[str, Any]) -> dict[str, Any]:
    pod = rendered["spec"]["template"]["spec"]
    assert pod["schedulingGates"] == [{"name": names.ADMISSION_GATE}]
    spec = {key: value for key, value in pod.items() if key != "schedulingGates"}
    template = rendered["spec"]["template"] | {"spec": spec}
    return {**rendered, "spec": rendered["spec"] | {"template": template}}


@pytest.mark.parametrize("name", golden.NAMES)
def test_a_golden_set_gets_the_recorded_stateful_sets(name: str) -> None:
    recording = golden.load(name)
    owner = lws.LeaderWorkerSet.of(recording.stored)
    queued = bool(owner.queue_name)
    (revision,) = recording.of_kind("ControllerRevision")
    key = revision["metadata"]["labels"][names.REVISION_KEY]
    # At rest the partition is the lowest that the set allows.
    bounds = scaling.bounds(owner)
    rendered = [
        statefulsets.leader(
            owner,
            key=key,
            partition=bounds.floor,
            replicas=bounds.replicas,
            queue_gated=queued,
        )
    ]
    for obj in recording.of_kind("StatefulSet")[1:]:
        pod = facts.Pod.of(recording.named("Pod", obj["metadata"]["name"]))
        selector = obj["spec"]["template"]["spec"].get("nodeSelector", {})
        rendered.append(
            statefulsets.worker(
                owner,
                leader_pod=pod,
                revision_lws=revisions.restore(owner, facts.Revision.of(revision)),
                queue_gated=queued,
                topology_value=next(iter(selector.values()), None),
            )
        )
    if queued:
        rendered = [without_gate(body) for body in rendered]
    actual = [without_marks(as_stored(body)) for body in rendered]
    assert actual == [recorded(obj) for obj in recording.of_kind("StatefulSet")]


@pytest.mark.parametrize("name", golden.NAMES)
def test_a_golden_set_gets_the_recorded_services(name: str) -> None:
    recording = golden.load(name)
    owner = lws.LeaderWorkerSet.of(recording.stored)
    if owner.spec.network_config.subdomain_policy == "Shared":
        rendered = [services.shared(owner)]
    else:
        leaders = [p for p in recording.of_kind("Pod") if p["metadata"]["name"].count("-") == 2]
        rendered = [services.of_group(owner, facts.Pod.of(pod)) for pod in leaders]
    defaults = {
        "clusterIPs": ["None"],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    actual = [{**body, "spec": body["spec"] | defaults} for body in rendered]
    assert actual == [recorded(obj) for obj in recording.of_kind("Service")]


def leader_of(owner: lws.LeaderWorkerSet, *, queue_gated: bool = False) -> dict[str, Any]:
    return statefulsets.leader(
        owner, key="key", partition=0, replicas=owner.spec.replicas, queue_gated=queue_gated
    )


def worker_of(
    owner: lws.LeaderWorkerSet,
    *,
    revision: lws.LeaderWorkerSet | None = None,
    pod: facts.Pod | None = None,
    queue_gated: bool = False,
    topology_value: str | None = None,
) -> dict[str, Any]:
    return statefulsets.worker(
        owner,
        leader_pod=pod or given.a_leader(1),
        revision_lws=revision or owner,
        queue_gated=queue_gated,
        topology_value=topology_value,
    )


def pod_annotations(body: Mapping[str, Any]) -> dict[str, str]:
    annotations: dict[str, str] = body["spec"]["template"]["metadata"]["annotations"]
    return annotations


def max_unavailable(body: Mapping[str, Any]) -> Any:
    return body["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"]


@pytest.mark.row("UT-01")
def test_the_leader_set_of_a_set_without_leader_template() -> None:
    owner = given.an_lws(replicas=1, size=1, template={"leaderTemplate": None})
    identity = {names.SET_NAME: given.NAME, names.WORKER_INDEX: "0"}
    assert leader_of(owner) == {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {
            "name": given.NAME,
            "namespace": given.NAMESPACE,
            "labels": {names.SET_NAME: given.NAME, names.REVISION_KEY: "key"},
            "annotations": {names.REPLICAS: "1"},
            "ownerReferences": [
                {
                    "apiVersion": "leaderworkerset.x-k8s.io/v1",
                    "kind": "LeaderWorkerSet",
                    "name": given.NAME,
                    "uid": given.UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "serviceName": given.NAME,
            "replicas": 1,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": identity},
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"partition": 0, "maxUnavailable": 1},
            },
            "template": {
                "metadata": {
                    "labels": identity | {names.REVISION_KEY: "key"},
                    "annotations": {names.SIZE: "1"},
                },
                "spec": {"containers": [given.CONTAINER]},
            },
        },
    }


@pytest.mark.row("UT-02")
def test_an_exclusive_topology_stands_on_the_leader_set_and_its_template() -> None:
    owner = given.an_lws(replicas=1, annotations={names.EXCLUSIVE_TOPOLOGY: "rack"})
    body = leader_of(owner)
    assert body["metadata"]["annotations"][names.EXCLUSIVE_TOPOLOGY] == "rack"
    assert pod_annotations(body) == {names.SIZE: "2", names.EXCLUSIVE_TOPOLOGY: "rack"}


@pytest.mark.row("UT-03")
def test_a_leader_template_is_used_for_leaders() -> None:
    body = leader_of(given.an_lws(annotations={names.EXCLUSIVE_TOPOLOGY: "rack"}))
    assert body["spec"]["template"]["spec"]["containers"][0]["name"] == "leader"
    assert body["metadata"]["annotations"][names.REPLICAS] == "2"


@pytest.mark.parametrize(
    ("replicas", "rollout", "expected"),
    [
        pytest.param(1, {"maxUnavailable": 2, "maxSurge": 1}, 3, marks=pytest.mark.row("UT-04")),
        pytest.param(1, {"maxUnavailable": 0, "maxSurge": 2}, 1, marks=pytest.mark.row("UT-05")),
        pytest.param(0, {"maxUnavailable": 0, "maxSurge": 0}, 1, marks=pytest.mark.row("UT-08")),
        pytest.param(2, {"maxSurge": "50%"}, 2, marks=pytest.mark.row("UT-09")),
        (4, {"maxUnavailable": "25%", "maxSurge": "30%"}, 3),
    ],
)
def test_the_leader_set_may_replace_as_many_as_bounds_allow(
    replicas: int, rollout: dict[str, Any], expected: int
) -> None:
    assert max_unavailable(leader_of(given.an_lws(replicas=replicas, rollout=rollout))) == expected


@pytest.mark.row("UT-09")
def test_replicas_and_partition_are_those_of_the_rollout() -> None:
    owner = given.an_lws(rollout={"maxSurge": "50%"})
    body = statefulsets.leader(owner, key="key", partition=2, replicas=3, queue_gated=False)
    assert body["spec"]["replicas"] == 3
    assert body["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 2
    assert body["metadata"]["annotations"][names.REPLICAS] == "2"


@pytest.mark.row("UT-06")
def test_a_subgroup_policy_stands_on_the_leader_template() -> None:
    owner = given.an_lws(
        template={"subGroupPolicy": {"subGroupPolicyType": "LeaderWorker", "subGroupSize": 2}},
        annotations={names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "host"},
    )
    assert pod_annotations(leader_of(owner)) == {
        names.SIZE: "2",
        names.SUBGROUP_SIZE: "2",
        names.SUBGROUP_POLICY_TYPE: "LeaderWorker",
        names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "host",
    }


def test_a_subgroup_policy_without_a_size_is_no_policy() -> None:
    owner = given.an_lws(
        template={"subGroupPolicy": {"subGroupPolicyType": "LeaderWorker"}},
        annotations={names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "host", names.EXCLUSIVE_TOPOLOGY: ""},
    )
    assert pod_annotations(leader_of(owner)) == {names.SIZE: "2"}


def test_a_subdomain_of_its_own_stands_on_the_leader_template_alone() -> None:
    owner = given.an_lws(networkConfig={"subdomainPolicy": "UniquePerReplica"})
    assert pod_annotations(leader_of(owner))[names.SUBDOMAIN_POLICY] == "UniquePerReplica"
    assert names.SUBDOMAIN_POLICY not in pod_annotations(worker_of(owner))
    assert leader_of(owner)["spec"]["serviceName"] == given.NAME
    assert worker_of(owner)["spec"]["serviceName"] == f"{given.NAME}-1"


_CLAIM = {
    "metadata": {"name": "data", "labels": {"a": "b"}, "annotations": {"c": "d"}},
    "spec": {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "volumeMode": "Block",
        "resources": {"requests": {"storage": "1024Mi"}, "limits": {"storage": "2Gi"}},
        "selector": {"matchLabels": {"a": "b"}},
        "volumeName": "volume",
        "volumeAttributesClassName": "gold",
    },
}


@pytest.mark.row("UT-07", "UT-36")
def test_claims_carry_what_upstream_passes_on_and_nothing_else() -> None:
    owner = given.an_lws(
        template={
            "volumeClaimTemplates": [_CLAIM, {"metadata": {"name": "small"}, "spec": {}}],
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Retain",
                "whenScaled": "Delete",
            },
        }
    )
    metadata = {"namespace": given.NAMESPACE}
    expected = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata | {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast",
                "volumeMode": "Block",
                "resources": {"requests": {"storage": "1Gi"}, "limits": {"storage": "2Gi"}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata | {"name": "small"},
            "spec": {},
        },
    ]
    for body in (leader_of(owner), worker_of(owner)):
        assert body["spec"]["volumeClaimTemplates"] == expected
        assert body["spec"]["persistentVolumeClaimRetentionPolicy"] == {
            "whenDeleted": "Retain",
            "whenScaled": "Delete",
        }


@pytest.mark.row("UT-36")
def test_without_claims_there_is_no_field_for_them() -> None:
    owner = given.an_lws()
    assert statefulsets.claims(owner) == []
    assert "volumeClaimTemplates" not in leader_of(owner)["spec"]


@pytest.mark.row("UT-10", "UT-21")
def test_metadata_of_the_set_is_copied_and_ours_wins() -> None:
    owner = given.an_lws(
        labels={"team": "x", names.SET_NAME: "liar", names.REVISION_KEY: "liar"},
        annotations={"note": "y", names.REPLICAS: "77"},
    )
    leader, worker = leader_of(owner)["metadata"], worker_of(owner)["metadata"]
    assert leader["labels"] == {
        "team": "x",
        names.SET_NAME: given.NAME,
        names.REVISION_KEY: "key",
    }
    assert leader["annotations"] == {"note": "y", names.REPLICAS: "2"}
    assert worker["labels"] == {
        "team": "x",
        names.SET_NAME: given.NAME,
        names.REVISION_KEY: "key",
        names.GROUP_INDEX: "1",
        names.GROUP_KEY: "group-key-1",
    }
    assert worker["annotations"] == {"note": "y", names.REPLICAS: "77"}
    assert "team" not in leader_of(owner)["spec"]["template"]["metadata"]["labels"]


@pytest.mark.row("UT-19")
@pytest.mark.parametrize(
    ("options", "replicas", "annotations"),
    [
        ({"size": 1}, 0, {names.SIZE: "1"}),
        (
            {"size": 2, "annotations": {names.EXCLUSIVE_TOPOLOGY: "rack"}},
            1,
            {names.SIZE: "2", names.EXCLUSIVE_TOPOLOGY: "rack"},
        ),
        (
            {
                "size": 2,
                "template": {
                    "subGroupPolicy": {
                        "subGroupPolicyType": "LeaderExcluded",
                        "subGroupSize": 2,
                    }
                },
                "annotations": {names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "host"},
            },
            1,
            {
                names.SIZE: "2",
                names.SUBGROUP_SIZE: "2",
                names.SUBGROUP_POLICY_TYPE: "LeaderExcluded",
                names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "host",
            },
        ),
    ],
)
def test_the_worker_set_of_a_group(
    options: dict[str, Any], replicas: int, annotations: dict[str, str]
) -> None:
    body = worker_of(given.an_lws(**options))
    identity = {
        names.SET_NAME: given.NAME,
        names.GROUP_INDEX: "1",
        names.GROUP_KEY: "group-key-1",
    }
    assert body["metadata"]["name"] == f"{given.NAME}-1"
    assert body["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": f"{given.NAME}-1",
            "uid": f"uid-of-{given.NAME}-1",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert body["spec"] == {
        "serviceName": given.NAME,
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "ordinals": {"start": 1},
        "selector": {"matchLabels": identity},
        "template": {
            "metadata": {
                "labels": identity | {names.REVISION_KEY: "key"},
                "annotations": annotations | {names.LEADER_NAME: f"{given.NAME}-1"},
            },
            "spec": {"containers": [given.CONTAINER]},
        },
    }


def test_workers_are_made_from_their_leaders_revision() -> None:
    old = given.an_lws(
        size=4,
        networkConfig={"subdomainPolicy": "UniquePerReplica"},
        annotations={names.EXCLUSIVE_TOPOLOGY: "old"},
    )
    live = given.an_lws(size=2, annotations={names.EXCLUSIVE_TOPOLOGY: "rack"}, labels={"a": "b"})
    restored = revisions.restore(live, facts.Revision.of(revisions.build(old, 1)))
    body = worker_of(live, revision=restored)
    assert body["spec"]["replicas"] == 3
    assert body["spec"]["serviceName"] == f"{given.NAME}-1"
    assert pod_annotations(body)[names.SIZE] == "4"
    assert pod_annotations(body)[names.EXCLUSIVE_TOPOLOGY] == "rack"
    assert body["metadata"]["labels"]["a"] == "b"


def test_workers_are_pinned_to_the_domain_of_their_leader() -> None:
    spec = {"containers": [given.CONTAINER], "nodeSelector": {"disk": "fast"}}
    owner = given.an_lws(
        template={"workerTemplate": {"metadata": {}, "spec": spec}},
        annotations={names.EXCLUSIVE_TOPOLOGY: "rack"},
    )
    pinned = worker_of(owner, topology_value="r1")["spec"]["template"]["spec"]["nodeSelector"]
    assert pinned == {"disk": "fast", "rack": "r1"}
    assert owner.spec.leader_worker_template.worker_template["spec"]["nodeSelector"] == {
        "disk": "fast"
    }


@pytest.mark.parametrize(
    ("resources", "asked"),
    [
        ({"limits": {"google.com/tpu": "4"}}, True),
        ({"requests": {"google.com/tpu": 4}}, True),
        ({"limits": {"google.com/tpu": "0"}, "requests": None}, False),
        ({"limits": {"cpu": "4"}}, False),
        (None, False),
    ],
)
def test_workers_learn_that_their_leader_asks_for_tpus(resources: Any, asked: bool) -> None:
    pod = given.a_leader(1, containers=[{"name": "c", "resources": resources}])
    annotations = pod_annotations(worker_of(given.an_lws(), pod=pod))
    assert annotations.get(names.LEADER_REQUESTS_TPUS) == ("true" if asked else None)


def _queued(**template: Any) -> lws.LeaderWorkerSet:
    """Return a queue-managed set whose templates carry marks of the built-in integration."""
    metadata = {
        "labels": {
            "app": "x",
            names.QUEUE_NAME: "q",
            names.PRIORITY_CLASS: "p",
            names.KUEUE_PREFIX + "managed": "true",
        },
        "annotations": {
            "note": "y",
            names.POD_SUSPENDING_PARENT: names.KUEUE_LWS_FRAMEWORK,
            names.KUEUE_PREFIX + "pod-group-serving": "true",
        },
    }
    pod = {"containers": [given.CONTAINER], "schedulingGates": [{"name": "user"}]}
    return given.an_lws(
        labels={names.QUEUE_NAME: "q", names.PRIORITY_CLASS: "p", "team": "x"},
        template={"workerTemplate": {"metadata": metadata, "spec": pod}, **template},
    )


def test_pods_of_a_queued_set_are_born_gated_and_shielded() -> None:
    owner = _queued(leaderTemplate=None)
    for body in (leader_of(owner, queue_gated=True), worker_of(owner, queue_gated=True)):
        template = body["spec"]["template"]
        assert template["spec"]["schedulingGates"] == [
            {"name": "kueue.x-k8s.io/admission"},
            {"name": "user"},
        ]
        assert pod_annotations(body)[names.POD_SUSPENDING_PARENT] == (
            "lws-kueue.dev/leaderworkerset"
        )
        kueue_labels = {
            label
            for metadata in (body["metadata"], template["metadata"])
            for label in metadata["labels"]
            if label.startswith(names.KUEUE_PREFIX)
        }
        assert kueue_labels == set()
        assert template["metadata"]["labels"]["app"] == "x"
        assert body["metadata"]["labels"]["team"] == "x"
        assert {a for a in pod_annotations(body) if a.startswith(names.KUEUE_PREFIX)} == {
            names.POD_SUSPENDING_PARENT,
            names.POD_GROUP_SERVING,
        }


def test_gating_changes_nothing_in_the_revision_and_the_stored_template() -> None:
    owner = _queued()
    before = revisions.data_of(owner)
    worker_of(owner, queue_gated=True)
    leader_of(owner, queue_gated=True)
    assert revisions.data_of(owner) == before


def test_a_gate_that_the_user_set_too_stands_once() -> None:
    pod = {"containers": [given.CONTAINER], "schedulingGates": [{"name": names.ADMISSION_GATE}]}
    owner = given.an_lws(template={"workerTemplate": {"metadata": {}, "spec": pod}})
    gated = worker_of(owner, queue_gated=True)["spec"]["template"]["spec"]["schedulingGates"]
    assert gated == [{"name": names.ADMISSION_GATE}]


@pytest.mark.parametrize(
    ("leader", "offsets"),
    [
        pytest.param("own", (None, "1"), marks=pytest.mark.row("D01", "D06"), id="leader-template"),
        pytest.param(None, (None, None), marks=pytest.mark.row("D07"), id="one-template"),
    ],
)
def test_templates_say_who_answers_for_the_pods_and_nothing_of_a_queue(
    leader: str | None, offsets: tuple[str | None, str | None]
) -> None:
    # The queue of the templates is not that of the set, which is the one that counts.
    metadata = {"labels": {names.QUEUE_NAME: "another", names.PRIORITY_CLASS: "another"}}
    template = {"metadata": metadata, "spec": {"containers": [given.CONTAINER]}}
    owner = given.an_lws(
        labels={names.QUEUE_NAME: "q", names.PRIORITY_CLASS: "p"},
        template={"leaderTemplate": template if leader else None, "workerTemplate": template},
    )
    bodies = (leader_of(owner, queue_gated=True), worker_of(owner, queue_gated=True))
    for body, offset in zip(bodies, offsets, strict=True):
        labels = body["spec"]["template"]["metadata"]["labels"]
        assert not {names.QUEUE_NAME, names.PRIORITY_CLASS} & labels.keys()
        found = pod_annotations(body)
        assert found[names.POD_SUSPENDING_PARENT] == names.OUR_SUSPENDING_PARENT
        assert found.get(names.POD_INDEX_OFFSET) == offset


@pytest.mark.row("D01", "D05", "D08")
def test_workers_of_a_leader_template_count_from_one_unless_grouped() -> None:
    grouped = {"metadata": {"annotations": {names.PODSET_GROUP_NAME: "g"}}, "spec": {}}
    offsets = [
        pod_annotations(worker_of(owner, queue_gated=True)).get(names.POD_INDEX_OFFSET)
        for owner in (
            _queued(),
            _queued(leaderTemplate=None),
            given.an_lws(template={"workerTemplate": grouped}),
        )
    ]
    assert offsets == ["1", None, None]
    assert names.POD_INDEX_OFFSET not in pod_annotations(leader_of(_queued(), queue_gated=True))


def test_a_set_that_is_not_gated_keeps_its_labels() -> None:
    body = leader_of(_queued(leaderTemplate=None))
    assert body["metadata"]["labels"][names.QUEUE_NAME] == "q"
    assert body["spec"]["template"]["metadata"]["labels"][names.QUEUE_NAME] == "q"
    assert body["spec"]["template"]["spec"]["schedulingGates"] == [{"name": "user"}]
