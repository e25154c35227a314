"""Objects that contradict a set: each is named in a Warning, and none changes what is decided."""

import datetime
from dataclasses import replace
from typing import Any

import pytest

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.controller.revision import revisions
from lws_kueue.workload import build
from tests.kit.builders import given

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
NAME = given.NAME
INDEX, WORKER, KEY = names.GROUP_INDEX, names.WORKER_INDEX, names.REVISION_KEY


def revision(body: dict[str, Any], name: str = "", **changes: Any) -> facts.Revision:
    """A stored revision; ``changes`` are made in its metadata."""
    metadata = {**body["metadata"], "uid": f"uid-of-{name or 'revision'}", **changes}
    return facts.Revision.of({**body, "metadata": {**metadata, "name": name or metadata["name"]}})


class Scene:
    """A set of two groups of two with all its objects, to be spoilt in one place."""

    def __init__(self, **options: Any) -> None:
        self.owner: lws.LeaderWorkerSet = given.an_lws(**options)
        size = self.owner.spec.leader_worker_template.size
        body = revisions.build(self.owner, 1)
        self.key = body["metadata"]["labels"][KEY]
        identity = {names.SET_NAME: NAME, WORKER: "0"}
        self.leader_set = given.a_leader_set(
            labels={names.SET_NAME: NAME, KEY: self.key},
            annotations={names.REPLICAS: "2"},
            replicas=2,
            selector=identity,
            template={"labels": identity | {KEY: self.key}},
        )
        self.pods: dict[str, facts.Pod] = {}
        self.sets = {NAME: self.leader_set}
        for index in range(2):
            leader = given.a_leader(index, key=self.key, size=size)
            self.add(leader)
            if size > 1:
                self.add(given.a_worker(leader, 1))
                self.sets[leader.meta.name] = worker_set(leader, replicas=size - 1)
        self.services = {NAME: service()}
        self.revisions = [revision(body)]

    def add(self, *pods: facts.Pod) -> None:
        self.pods |= {pod.meta.name: pod for pod in pods}

    def plan(self) -> actions.Plan:
        seen = observed.Observed(
            namespace=given.NAMESPACE,
            name=NAME,
            lws=self.owner,
            kueue=observed.Kueue("missing"),
            stateful_sets=self.sets,
            pods=self.pods,
            services=self.services,
            revisions={r.meta.name: r for r in self.revisions},
        )
        return decide.decide(seen, now=NOW, options=build.Options())

    def told(self) -> list[str]:
        """What the Warnings of a pass say."""
        warnings = self.plan().warnings
        assert all(warning.type == "Warning" for warning in warnings)
        return [warning.message for warning in warnings]


def worker_set(leader: facts.Pod, **options: Any) -> facts.StatefulSet:
    labels = {k: v for k, v in leader.meta.labels.items() if k != WORKER}
    selector = {k: v for k, v in labels.items() if k != KEY}
    return given.a_worker_set(leader, selector=selector, template={"labels": labels}, **options)


def service(name: str = NAME, **spec: Any) -> facts.Service:
    given_spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {names.SET_NAME: NAME},
    }
    return facts.Service.of({"metadata": {"name": name}, "spec": given_spec | spec})


def relabelled(pod: facts.Pod, **changes: Any) -> facts.Pod:
    """A pod with other labels ("" takes one away) or, with ``owner``, another controller."""
    owner = changes.pop("owner", pod.meta.controller)
    labels = {k: v for k, v in {**pod.meta.labels, **changes.pop("labels", {})}.items() if v}
    reference = (
        {"kind": owner.kind, "name": owner.name, "uid": owner.uid, "controller": True}
        if isinstance(owner, facts.Owner)
        else owner
    )
    return given.a_pod(
        pod.meta.name,
        uid=pod.meta.uid,
        owner=reference,
        labels=labels,
        annotations={**pod.meta.annotations, **changes.pop("annotations", {})},
        **changes,
    )


def test_a_set_in_order_contradicts_nothing() -> None:
    assert Scene().told() == []
    assert Scene(size=1).told() == []


@pytest.mark.parametrize("name", [f"{NAME}-1", f"{NAME}-1-1"])
@pytest.mark.parametrize("label", [INDEX, WORKER, KEY, names.GROUP_KEY, names.SET_NAME])
@pytest.mark.parametrize("value", ["", "abc", "7", "999999999999"])
def test_an_edited_label_of_a_pod_is_named_and_decides_nothing(
    name: str, label: str, value: str
) -> None:
    scene = Scene()
    before = list(scene.plan().chains)
    right = scene.pods[name].meta.labels[label]
    scene.add(relabelled(scene.pods[name], labels={label: value}))
    (text,) = scene.told()
    assert text == f"Pod {name}: label {label} should be {right!r} and is {value or None!r}"
    assert list(scene.plan().chains) == before


@pytest.mark.parametrize("label", [INDEX, names.GROUP_KEY, names.SET_NAME])
def test_a_worker_that_its_statefulset_let_go_is_named_and_does_not_count_as_lost(
    label: str,
) -> None:
    scene = Scene()
    name = f"{NAME}-0-1"
    scene.add(relabelled(scene.pods[name], labels={label: "other"}, owner=None))
    (text,) = scene.told()
    assert text.startswith(f"Pod {name}: label {label} should be ")
    assert "Correct the label, or delete the pod" in text
    assert not [c for chain in scene.plan().chains for c in chain if isinstance(c, actions.Delete)]


@pytest.mark.parametrize("label", [WORKER, names.SET_NAME])
def test_a_leader_that_its_statefulset_let_go_is_named(label: str) -> None:
    scene = Scene()
    name = f"{NAME}-0"
    scene.add(relabelled(scene.pods[name], labels={label: "other"}, owner=None))
    assert any(
        text.startswith(f"Pod {name}: label {label} should be ") and "Correct the label" in text
        for text in scene.told()
    )


def test_a_pod_of_somebody_else_that_has_a_name_the_set_needs_is_named() -> None:
    scene = Scene()
    name = f"{NAME}-1-1"
    other = given.reference("ReplicaSet", "web", "uid-of-web")
    scene.add(relabelled(scene.pods[name], owner=other))
    (text,) = scene.told()
    assert text.startswith(f"Pod {name}: belongs to ReplicaSet web")


@pytest.mark.parametrize(
    "owner", [None, given.reference("StatefulSet", "web", "w"), given.reference("Job", NAME, "j")]
)
def test_a_foreign_pod_with_the_labels_of_a_set_is_named(owner: dict[str, Any] | None) -> None:
    scene = Scene()
    labels = {**scene.pods[f"{NAME}-0"].meta.labels}
    scene.add(given.a_pod("web-5", labels=labels, owner=owner))
    (text,) = scene.told()
    assert text.startswith(f"Pod web-5: has the label {names.SET_NAME}={NAME}")


def held(pod: facts.Pod, **labels: str) -> facts.Pod:
    """The pod as Kueue's pod integration leaves it that names no queue."""
    marked = relabelled(pod, labels={names.MANAGED: "true", names.QUEUE_NAME: "default", **labels})
    return replace(marked, gates=(names.ADMISSION_GATE,), phase="Pending", ready=False)


@pytest.mark.row("P2")
@pytest.mark.parametrize("name", [f"{NAME}-0", f"{NAME}-1-1"])
def test_a_pod_of_a_plain_set_that_kueue_holds_is_named_with_the_remedy(name: str) -> None:
    scene = Scene()
    scene.add(held(scene.pods[name]))
    (text,) = scene.told()
    assert text.startswith(f"Pod {name} was taken by Kueue's pod integration")
    assert "LeaderWorkerSet.v1.leaderworkerset.x-k8s.io in integrations.externalFrameworks" in text
    # However many are held, one says it.
    scene.add(*(held(pod) for pod in scene.pods.values()))
    assert len(scene.told()) == 1


@pytest.mark.row("P2")
def test_a_stateful_set_of_a_plain_set_that_kueue_has_taken_is_named() -> None:
    scene = Scene()
    name = f"{NAME}-1"
    template = {
        "labels": scene.sets[name].template_labels,
        "annotations": {names.POD_SUSPENDING_PARENT: names.KUEUE_STATEFULSET_FRAMEWORK},
    }
    scene.sets[name] = given.a_worker_set(
        scene.pods[name], selector=scene.sets[name].selector, template=template
    )
    (text,) = scene.told()
    assert text.startswith(f"StatefulSet {name} was taken by Kueue's StatefulSet integration")
    assert "integrations.externalFrameworks" in text


@pytest.mark.row("P2")
def test_a_pod_whose_template_names_a_queue_is_meant_to_be_held() -> None:
    scene = Scene()
    labels = {**scene.leader_set.template_labels, names.QUEUE_NAME: "default"}
    scene.leader_set = given.a_leader_set(
        labels=scene.leader_set.meta.labels,
        annotations=scene.leader_set.meta.annotations,
        replicas=2,
        selector=scene.leader_set.selector,
        template={"labels": labels},
    )
    scene.sets[NAME] = scene.leader_set
    scene.add(held(scene.pods[f"{NAME}-0"]))
    assert scene.told() == []


@pytest.mark.parametrize("written", ["", "many", "-2", "0", "²", "7", "9" * 5000])
def test_a_size_that_is_not_the_groups_is_named_and_does_not_count(written: str) -> None:
    scene = Scene()
    name = f"{NAME}-0"
    made_with = {"labels": scene.sets[name].template_labels, "annotations": {names.SIZE: "2"}}
    leader = relabelled(scene.pods[name], annotations={names.SIZE: written})
    scene.sets[name] = given.a_worker_set(
        scene.pods[name], selector=scene.sets[name].selector, template=made_with
    )
    scene.add(leader)
    (text,) = scene.told()
    assert text.startswith(f"Pod {name}: annotation {names.SIZE} should be '2' and is ")
    status = scene.plan().status
    assert status is not None
    assert status.status["readyReplicas"] == 2


@pytest.mark.parametrize("label", [INDEX, KEY, names.GROUP_KEY, names.SET_NAME])
def test_an_edited_label_of_a_worker_statefulset_is_named(label: str) -> None:
    scene = Scene()
    live = scene.sets[f"{NAME}-0"]
    scene.sets[f"{NAME}-0"] = given.a_worker_set(
        scene.pods[f"{NAME}-0"],
        labels={**live.meta.labels, label: "other"},
        selector=live.selector,
        template={"labels": live.template_labels},
    )
    (text,) = scene.told()
    assert text.startswith(f"StatefulSet {NAME}-0: label {label} should be ")


@pytest.mark.parametrize(
    ("labels", "annotations", "part"),
    [
        ({names.SET_NAME: "other"}, {}, f"label {names.SET_NAME} should be '{NAME}'"),
        ({KEY: "garbage"}, {}, f"label {KEY} should be "),
        ({}, {names.REPLICAS: "many"}, f"annotation {names.REPLICAS} should be a number"),
        ({}, {names.REPLICAS: "9" * 5000}, f"annotation {names.REPLICAS} should be a number"),
    ],
)
def test_what_somebody_edited_on_the_leader_statefulset_is_named_and_set_back(
    labels: dict[str, str], annotations: dict[str, str], part: str
) -> None:
    scene = Scene()
    live = scene.leader_set
    scene.sets[NAME] = given.a_leader_set(
        labels={**live.meta.labels, **labels},
        annotations={**live.meta.annotations, **annotations},
        replicas=2,
        selector=live.selector,
        template={"labels": live.template_labels},
    )
    plan = scene.plan()
    assert not plan.prepare, "the key that the pods are made with counts, not an edited label"
    (text,) = [warning.message for warning in plan.warnings]
    assert text.startswith(f"StatefulSet {NAME}: {part}")
    (body,) = [a.body for chain in plan.chains for a in chain if isinstance(a, actions.Apply)]
    assert body["metadata"]["labels"] == live.meta.labels
    assert body["metadata"]["annotations"][names.REPLICAS] == "2"
    assert body["spec"]["template"]["metadata"]["labels"][KEY] == scene.key


def test_a_statefulset_that_only_has_the_label_is_named() -> None:
    scene = Scene()
    scene.sets["web"] = given.a_stateful_set("web", labels={names.SET_NAME: NAME})
    (text,) = scene.told()
    assert text.startswith(f"StatefulSet web: has the label {names.SET_NAME}={NAME}")


def test_a_second_statefulset_that_claims_a_leader_is_not_its_worker_statefulset() -> None:
    scene = Scene()
    leader = scene.pods[f"{NAME}-0"]
    claim = given.reference("Pod", leader.meta.name, leader.meta.uid)
    scene.sets["aaa"] = given.a_stateful_set("aaa", labels={names.SET_NAME: NAME}, owner=claim)
    before = Scene().plan()
    assert scene.plan().chains == before.chains


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({"clusterIP": "10.0.0.1"}, "is not headless"),
        ({"selector": {"app": "web"}}, f"does not select pod {NAME}-0"),
        ({"selector": None}, "has no selector"),
        ({"publishNotReadyAddresses": False}, "does not publish"),
    ],
)
def test_a_service_that_gives_the_pods_no_addresses_is_named(
    spec: dict[str, Any], part: str
) -> None:
    scene = Scene()
    scene.services = {NAME: service(**spec)}
    scene.add(*(with_subdomain(pod, NAME) for pod in scene.pods.values()))
    (text,) = scene.told()
    assert text.startswith(f"Service {NAME}: {part}")


def test_the_service_of_a_group_is_looked_at_where_every_group_has_its_own() -> None:
    scene = Scene(networkConfig={"subdomainPolicy": "UniquePerReplica"})
    scene.services = {
        f"{NAME}-0": service(f"{NAME}-0", selector={names.SET_NAME: NAME, INDEX: "0"}),
        f"{NAME}-1": service(f"{NAME}-1", selector={names.SET_NAME: NAME, INDEX: "0"}),
    }
    for pod in list(scene.pods.values()):
        scene.add(with_subdomain(pod, pod.meta.name[: len(NAME) + 2]))
    (text,) = scene.told()
    assert text.startswith(f"Service {NAME}-1: does not select pod {NAME}-1")


def with_subdomain(pod: facts.Pod, subdomain: str) -> facts.Pod:
    return facts.Pod(
        meta=pod.meta,
        phase=pod.phase,
        ready=pod.ready,
        restarted=pod.restarted,
        node=pod.node,
        gates=pod.gates,
        spec={**pod.spec, "subdomain": subdomain},
    )


@pytest.mark.parametrize(
    "data",
    [
        [],
        "text",
        5,
        {"spec": None},
        {"spec": {"leaderWorkerTemplate": {}, "networkConfig": {}}},
        {"spec": {"leaderWorkerTemplate": {"workerTemplate": {"spec": []}}, "networkConfig": {}}},
        {
            "spec": {
                "leaderWorkerTemplate": {"workerTemplate": {"spec": {"nodeSelector": "x"}}},
                "networkConfig": {"subdomainPolicy": "Shared"},
            }
        },
        {
            "spec": {
                "leaderWorkerTemplate": {
                    "workerTemplate": {"spec": {"containers": [{"ports": [10**400]}]}}
                },
                "networkConfig": {"subdomainPolicy": "Shared"},
            }
        },
    ],
)
def test_a_broken_revision_is_named(data: Any) -> None:
    scene = Scene()
    name = scene.revisions[0].meta.name
    body = revisions.build(scene.owner, 1) | {"data": data}
    scene.revisions = [revision(body)]
    assert [text for text in scene.told() if text.startswith(f"ControllerRevision {name} cannot")]


def test_data_nested_beyond_all_measure_are_no_data() -> None:
    data: Any = 1
    for _ in range(5000):
        data = {"a": data}
    scene = Scene()
    scene.revisions = [revision(revisions.build(scene.owner, 1) | {"data": data})]
    assert scene.revisions[0].data == {}
    assert any("cannot be used" in text for text in scene.told())


def test_a_revision_under_another_key_is_named_while_its_own_key_is_missed() -> None:
    scene = Scene()
    labels = {names.SET_NAME: NAME, KEY: "other"}
    scene.revisions = [revision(revisions.build(scene.owner, 1), labels=labels)]
    plan = scene.plan()
    assert plan.prepare, "and it is made anew"
    (text,) = [warning.message for warning in plan.warnings]
    assert text.startswith(f"ControllerRevision {scene.revisions[0].meta.name}: label {KEY} should")


def test_two_revisions_of_one_key_are_named_only_if_they_differ() -> None:
    scene = Scene()
    body = revisions.build(scene.owner, 1)
    twin = revision({**body, "revision": 2}, name="twin")
    scene.revisions = [revision(body), twin]
    assert scene.told() == []
    other = revisions.build(given.an_lws(size=7), 1)
    scene.revisions = [revision({**body, "data": other["data"]}, name="other"), twin]
    (text,) = scene.told()
    assert text.startswith(f"ControllerRevision other: has the key {scene.key} as well as twin")


def test_the_sets_own_service_without_its_label_is_named() -> None:
    scene = Scene()
    reference = given.reference(names.LWS_KIND, NAME, given.UID)
    own = {"name": NAME, "ownerReferences": [reference]}
    scene.services = {NAME: facts.Service.of({"metadata": own})}
    (text,) = scene.told()
    assert text == f"Service {NAME}: label {names.SET_NAME} should be {NAME!r} and is None"


@pytest.mark.parametrize(
    ("kind", "owner"),
    [("StatefulSet", NAME), ("StatefulSet", f"{NAME}-1"), ("StatefulSet", "other"), ("Web", NAME)],
)
def test_a_revision_of_somebody_else_with_the_sets_label_is_named(kind: str, owner: str) -> None:
    scene = Scene()
    references = [given.reference(kind, owner, "uid-of-somebody")]
    body = revisions.build(given.an_lws(size=9), 5)
    scene.revisions.append(revision(body, name="foreign", ownerReferences=references))
    # The StatefulSet controller's own revisions carry the labels of its pods, rightly so.
    named = [text for text in scene.told() if text.startswith("ControllerRevision foreign: has")]
    assert bool(named) is (kind == "Web" or owner == "other")


def test_a_leader_that_finalizers_keep_is_named() -> None:
    scene = Scene()
    held = facts.Pod.of(
        {
            "metadata": {
                "name": f"{NAME}-0",
                "namespace": given.NAMESPACE,
                "uid": scene.pods[f"{NAME}-0"].meta.uid,
                "labels": dict(scene.pods[f"{NAME}-0"].meta.labels),
                "annotations": {names.SIZE: "2"},
                "deletionTimestamp": "2029-01-01T00:00:00Z",
                "finalizers": ["foregroundDeletion", "example.com/keep"],
                "ownerReferences": [given.reference("StatefulSet", NAME, given.LEADER_SET_UID)],
            },
            "status": {"phase": "Running"},
        }
    )
    scene.add(held)
    (text,) = scene.told()
    assert text.startswith(f"Pod {NAME}-0: is being deleted")
    assert text.endswith(": example.com/keep")


def test_a_leader_with_the_annotation_of_a_worker_is_named_even_when_it_has_workers() -> None:
    scene = Scene()
    name = f"{NAME}-0"
    scene.add(relabelled(scene.pods[name], annotations={names.LEADER_NAME: "x"}))
    (text,) = scene.told()
    assert name in text
    assert names.LEADER_NAME in text


def test_a_leader_of_an_unknown_revision_is_named_where_it_has_no_workers() -> None:
    scene = Scene(size=1)
    name = f"{NAME}-1"
    scene.add(relabelled(scene.pods[name], labels={KEY: "unknown"}))
    (text,) = scene.told()
    assert text.startswith(f"Pod {name}: label {KEY} is 'unknown'")


def test_a_flood_of_contradictions_is_told_in_part() -> None:
    scene = Scene()
    labels = scene.pods[f"{NAME}-0"].meta.labels
    scene.add(*(given.a_pod(f"web-{n}", labels=labels) for n in range(500)))
    assert len(scene.told()) == 20


@pytest.mark.parametrize("deleted", [False, True])
def test_a_leader_that_goes_may_outlive_its_revision(deleted: bool) -> None:
    # Scaled down in the middle of an update, while the pod takes its time to end.
    scene = Scene(size=1)
    scene.add(given.a_leader(2, key="former", size=1, deleted=deleted))
    assert scene.told() == []


def test_a_worker_that_was_let_go_before_its_group_went_is_named() -> None:
    scene = Scene()
    leader = given.a_leader(5, key=scene.key)
    scene.add(relabelled(given.a_worker(leader, 1), owner=None, labels={INDEX: "x"}))
    (text,) = scene.told()
    assert text.startswith(f"Pod {NAME}-5-1: was let go by its StatefulSet")
    scene.add(given.a_worker(leader, 1))
    assert scene.told() == [], "garbage collection takes it"
    scene.add(leader, relabelled(given.a_worker(leader, 1), owner=None))
    assert scene.told() == [], "its group is still going"


SLICED = {
    names.PODSET_SLICE_REQUIRED_TOPOLOGY: "example.com/rack",
    names.PODSET_SLICE_SIZE: "1",
}
CUT = {
    "leaderTemplate": None,
    "workerTemplate": {"metadata": {"annotations": SLICED}, "spec": {"containers": []}},
    "subGroupPolicy": {"subGroupPolicyType": "LeaderWorker", "subGroupSize": 2},
}
EXCLUSIVE = {names.EXCLUSIVE_TOPOLOGY: "example.com/rack"}


def test_placements_that_a_set_in_a_queue_cannot_have_together_are_named() -> None:
    scene = Scene(template=CUT, annotations=EXCLUSIVE, labels={names.QUEUE_NAME: "q"})
    reasons = {warning.reason: warning.message for warning in scene.plan().warnings}
    cut, exclusive = reasons["SubgroupsCutBySlices"], reasons["ExclusiveTopologyMayConflict"]
    assert names.PODSET_SLICE_SIZE in cut
    assert names.EXCLUSIVE_TOPOLOGY in exclusive
    assert names.PODSET_SLICE_REQUIRED_TOPOLOGY in exclusive


def test_topology_annotations_mean_nothing_to_a_set_without_a_queue() -> None:
    assert Scene(template=CUT, annotations=EXCLUSIVE).told() == []
