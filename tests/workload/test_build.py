"""A group's Workload at creation is the one Kueue's built-in integration makes."""

from typing import Any

import pytest

from lws_kueue.api import kueue, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.workload import build
from tests.kit import golden
from tests.kit.builders import builders

Json = dict[str, Any]


def wpc(name: str, value: int) -> kueue.WorkloadPriorityClass:
    return kueue.WorkloadPriorityClass.of({"metadata": {"name": name}, "value": value})


def pc(name: str, value: int, *, default: bool = False) -> kueue.PriorityClass:
    return kueue.PriorityClass.of(
        {"metadata": {"name": name}, "value": value, "globalDefault": default}
    )


def classes(*found: kueue.WorkloadPriorityClass | kueue.PriorityClass) -> build.PriorityClasses:
    return build.PriorityClasses(
        workload={c.meta.name: c for c in found if isinstance(c, kueue.WorkloadPriorityClass)},
        pod={c.meta.name: c for c in found if isinstance(c, kueue.PriorityClass)},
    )


def built(
    owner: lws.LeaderWorkerSet,
    index: int = 0,
    *,
    known: build.PriorityClasses = builders.NO_CLASSES,
    options: build.Options = builders.OPTIONS,
) -> Json:
    body = build.workload(owner, index, classes=known, options=options)
    assert not isinstance(body, Reason)
    return body


@pytest.mark.row("R01", "O38")
def test_a_plain_group_becomes_a_workload_with_all_its_marks() -> None:
    owner = builders.lws_object(size=1, labels={})
    assert built(owner, options=build.Options(topology=False)) == {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {
            "namespace": "ns",
            "name": "leaderworkerset-serve-0-" + built(owner)["metadata"]["name"][-5:],
            "finalizers": ["kueue.x-k8s.io/resource-in-use"],
            "labels": {"kueue.x-k8s.io/job-uid": "set-uid"},
            "annotations": {
                "kueue.x-k8s.io/job-owner-gvk": "leaderworkerset.x-k8s.io/v1, Kind=LeaderWorkerSet",
                "kueue.x-k8s.io/job-owner-name": "serve",
                "kueue.x-k8s.io/component-workload-index": "0",
            },
            "ownerReferences": [
                {
                    "apiVersion": "leaderworkerset.x-k8s.io/v1",
                    "kind": "LeaderWorkerSet",
                    "name": "serve",
                    "uid": "set-uid",
                }
            ],
        },
        "spec": {
            "podSets": [{"name": "main", "count": 1, "template": builders.template()}],
            "priority": 0,
        },
    }


@pytest.mark.row("R17", "R18", "R19")
@pytest.mark.parametrize("gates", ["example.com/a", "example.com/a, example.com/b"])
def test_gates_of_the_set_are_copied_as_they_are(gates: str) -> None:
    owner = builders.lws_object(annotations={names.ADMISSION_GATED_BY: gates})
    assert built(owner)["metadata"]["annotations"][names.ADMISSION_GATED_BY] == gates


def test_only_configured_labels_and_annotations_and_those_of_provisioning_are_copied() -> None:
    owner = builders.lws_object(
        labels={names.QUEUE_NAME: "queue", "team": "x", "other": "y"},
        annotations={"provreq.kueue.x-k8s.io/max": "3", "cost": "z", "note": "n"},
    )
    options = build.Options(
        label_keys_to_copy=frozenset({"team"}), annotation_keys_to_copy=frozenset({"cost"})
    )
    metadata = built(owner, options=options)["metadata"]
    assert metadata["labels"] == {"team": "x", names.JOB_UID: "set-uid"}
    assert {k: v for k, v in metadata["annotations"].items() if k in owner.meta.annotations} == {
        "provreq.kueue.x-k8s.io/max": "3",
        "cost": "z",
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), ("0", None), ("-5", None), ("1h", None), (str(2**31), None)],
)
def test_the_execution_time_is_a_positive_number_of_seconds(text: str, seconds: int | None) -> None:
    owner = builders.lws_object(labels={names.MAX_EXEC_TIME_SECONDS: text})
    assert built(owner)["spec"].get("maximumExecutionTimeSeconds") == seconds


@pytest.mark.row("R07")
def test_the_class_of_the_set_gives_reference_and_value() -> None:
    owner = builders.lws_object(
        labels={names.PRIORITY_CLASS: "high"},
        worker=builders.template(priorityClassName="pods"),
    )
    spec = built(owner, known=classes(wpc("high", 5000), pc("pods", 7)))["spec"]
    assert spec["priority"] == 5000
    assert spec["priorityClassRef"] == {
        "group": "kueue.x-k8s.io",
        "kind": "WorkloadPriorityClass",
        "name": "high",
    }


@pytest.mark.parametrize(
    ("leader", "known", "expected"),
    [
        (None, [pc("pods", 7), pc("other", 9, default=True)], (7, "pods")),
        ("lead", [pc("pods", 7), pc("lead", 8)], (8, "lead")),
    ],
)
def test_the_first_template_with_a_class_decides_next(
    leader: str | None, known: list[kueue.PriorityClass], expected: tuple[int, str]
) -> None:
    owner = builders.lws_object(
        leader=builders.template(priorityClassName=leader) if leader else builders.template(),
        worker=builders.template(priorityClassName="pods"),
    )
    spec = built(owner, known=classes(*known))["spec"]
    assert (spec["priority"], spec["priorityClassRef"]["name"]) == expected
    assert spec["priorityClassRef"]["group"] == "scheduling.k8s.io"


def test_the_lowest_default_class_of_the_cluster_comes_last() -> None:
    known = classes(pc("a", 9, default=True), pc("b", 4, default=True), pc("c", 1))
    spec = built(builders.lws_object(), known=known)["spec"]
    assert (spec["priority"], spec["priorityClassRef"]["name"]) == (4, "b")


@pytest.mark.parametrize(
    ("labels", "template_class", "reason"),
    [
        pytest.param(
            {names.PRIORITY_CLASS: "high"},
            None,
            "WorkloadPriorityClassNotFound",
            marks=pytest.mark.row("R08"),
        ),
        ({}, "pods", "PriorityClassNotFound"),
    ],
)
def test_a_missing_class_keeps_the_workload_from_being_made(
    labels: dict[str, str], template_class: str | None, reason: str
) -> None:
    worker = builders.template(priorityClassName=template_class)
    owner = builders.lws_object(labels=labels, worker=worker)
    problem = build.workload(owner, 1, classes=builders.NO_CLASSES, options=builders.OPTIONS)
    assert isinstance(problem, Reason)
    assert problem.code == reason
    assert "group 1 of serve" in problem.message
    assert problem.warns


def test_a_topology_that_breaks_a_rule_keeps_the_workload_from_being_made() -> None:
    worker = builders.template(annotations={names.PODSET_GROUP_NAME: "7"})
    problem = build.workload(
        builders.lws_object(worker=worker),
        0,
        classes=builders.NO_CLASSES,
        options=builders.OPTIONS,
    )
    assert isinstance(problem, Reason)
    assert "spec.leaderWorkerTemplate.workerTemplate" in problem.message


# Golden recordings ---------------------------------------------------------------------------

MARK_LABELS = {"kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"}
MARK_ANNOTATIONS = {
    "kueue.x-k8s.io/pod-suspending-parent",
    "kueue.x-k8s.io/pod-group-serving",
    "kueue.x-k8s.io/pod-index-offset",
}


def strip_marks(template: Json) -> Json:
    """Remove from a recorded template what only the built-in integration needs."""
    meta = {
        "labels": {
            k: v
            for k, v in template.get("metadata", {}).get("labels", {}).items()
            if k not in MARK_LABELS
        },
        "annotations": {
            k: v
            for k, v in template.get("metadata", {}).get("annotations", {}).items()
            if k not in MARK_ANNOTATIONS
        },
    }
    kept = {key: values for key, values in meta.items() if values}
    return ({"metadata": kept} if kept else {}) | {"spec": template["spec"]}


def as_created(recorded: Json) -> Json:
    """Return the recorded Workload without what happened to it after its creation."""
    meta, spec = recorded["metadata"], recorded["spec"]
    return {
        "apiVersion": recorded["apiVersion"],
        "kind": recorded["kind"],
        "metadata": {
            "namespace": meta["namespace"],
            "name": meta["name"],
            "finalizers": ["kueue.x-k8s.io/resource-in-use"],  # The recording leaves it out.
            "labels": meta["labels"],
            "annotations": {
                key: value
                for key, value in meta["annotations"].items()
                # With it Kueue's pod integration would take the finalizer off again and again.
                if key != names.IS_GROUP_WORKLOAD
            },
            # Kueue's pod integration adds the pods; here the set is the only owner.
            "ownerReferences": [o for o in meta["ownerReferences"] if o["kind"] != "Pod"],
        },
        "spec": {
            **{key: value for key, value in spec.items() if key != "active"},
            "podSets": [
                one | {"template": strip_marks(one["template"])} for one in spec["podSets"]
            ],
        },
    }


@pytest.mark.row("R03")
@pytest.mark.parametrize("name", ["queued-workers", "queued-dual", "tas-grouped"])
def test_workloads_equal_the_recorded_ones(name: str) -> None:
    recording = golden.load(name)
    applied = recording.applied
    # The set as its user applied it, with the identity that it had in the recording.
    uid = recording.stored["metadata"]["uid"]
    owner = lws.LeaderWorkerSet.of(applied | {"metadata": applied["metadata"] | {"uid": uid}})
    recorded = [as_created(one) for one in recording.of_kind("Workload")]
    assert len(recorded) == owner.spec.replicas == 2
    assert [built(owner, index) for index in range(2)] == recorded
