"""What can be done with a token of the controller's account, however much its roles allow.

The account of these tests is called as the controller's is, and may do everything with every kind
that is concerned, but answer AdmissionChecks, which takes a right of its own. What it may do is
what the controller does; everything is a dry run, an answer of the API server.
"""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client, kueue

from lws_kueue.api import names
from tests.kit.admission import support
from tests.kit.live import harness

Object = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
ACCOUNT = "lws-kueue"
SET = "serve"
UID = "00000000-0000-0000-0000-000000000000"
OWN_GATE = "example.com/own"
NO_BUSINESS = "has no business with it"


@dataclass(frozen=True)
class Place:
    """A namespace with a set, what belongs to it, and what does not."""

    admin: client.Client
    account: client.Client
    namespace: str
    uid: str

    def owner(
        self, kind: str = names.LWS_KIND, name: str = SET, *, controls: bool = True
    ) -> Object:
        """Return a reference to the set or, as ``kind`` says, to a leader pod."""
        versions = {names.LWS_KIND: names.LWS_API_VERSION, "Pod": "v1"}
        return {
            "apiVersion": versions.get(kind, "apps/v1"),
            "kind": kind,
            "name": name,
            "uid": self.uid if kind == names.LWS_KIND else UID,
            **({"controller": True, "blockOwnerDeletion": True} if controls else {}),
        }

    def create(self, obj: Object, *owners: Object, dry_run: bool = True, by: str = "") -> Object:
        """Create an object in the namespace."""
        who = self.admin if by == "admin" else self.account
        meta = {"namespace": self.namespace, **obj["metadata"]}
        if owners:
            meta["ownerReferences"] = list(owners)
        return who.create(obj | {"metadata": meta}, dry_run=dry_run)

    def patch(
        self, what: tuple[str, str], name: str, body: Object, sub: str = "", *, kind: str = "merge"
    ) -> Object:
        """Patch an object."""
        content = {
            "merge": "application/merge-patch+json",
            "strategic": "application/strategic-merge-patch+json",
            "apply": "application/apply-patch+yaml",
        }[kind]
        query = {"dryRun": "All", "fieldManager": names.FIELD_MANAGER}
        if kind == "apply":
            query["force"] = "true"
            body = {"apiVersion": what[0], "kind": what[1], **body}
            body["metadata"] = {"name": name, **body.get("metadata", {})}
        path = self._path(what, name, sub)
        answer: Object = self.account.request(
            "PATCH", path, query=query, body=body, content_type=content
        )
        return answer

    def delete(self, what: tuple[str, str], name: str, **options: Any) -> None:
        """Delete an object."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"], **options}
        self.account.request("DELETE", self._path(what, name), body=body)

    def _path(self, what: tuple[str, str], name: str, sub: str = "") -> str:
        path = self.admin.resource(*what).path(namespace=self.namespace, name=name)
        return f"{path}/{sub}" if sub else path


POD = ("v1", "Pod")
STATEFUL_SET = ("apps/v1", "StatefulSet")
REVISION = ("apps/v1", "ControllerRevision")
SERVICE = ("v1", "Service")
A_SET = (names.LWS_API_VERSION, names.LWS_KIND)
WORKLOAD = (names.KUEUE_API_VERSION, "Workload")


def of_kind(what: tuple[str, str], name: str, **more: Any) -> Object:
    return {"apiVersion": what[0], "kind": what[1], "metadata": {"name": name}, **more}


def pod(name: str, *, labels: Object | None = None, annotations: Object | None = None) -> Object:
    """A pod that waits for the gate of Kueue, and for that of another party."""
    gates = [{"name": names.ADMISSION_GATE}, {"name": OWN_GATE}]
    spec = {"containers": [{"name": "c", "image": harness.IMAGE}], "schedulingGates": gates}
    made = of_kind(POD, name, spec=spec)
    made["metadata"] |= {"labels": labels or {}, "annotations": annotations or {}}
    return made


def stateful_set(name: str) -> Object:
    labels = {"app": name}
    held = {"containers": [{"name": "c", "image": harness.IMAGE}]}
    return of_kind(
        STATEFUL_SET,
        name,
        spec={
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": held | {"schedulingGates": [{"name": OWN_GATE}]},
            },
        },
    )


def service(name: str, **spec: Any) -> Object:
    return of_kind(SERVICE, name, spec={"clusterIP": "None", "selector": {"a": "b"}, **spec})


def revision(name: str) -> Object:
    return of_kind(REVISION, name, revision=1, data={})


def workload(name: str, *, uid: str = "", ours: bool = True) -> Object:
    container = {"name": "c", "image": harness.IMAGE}
    pod_set = {"name": "main", "count": 1, "template": {"spec": {"containers": [container]}}}
    made = of_kind(WORKLOAD, name, spec={"podSets": [pod_set], "queueName": "none"})
    made["metadata"] |= {
        "labels": {names.JOB_UID: uid or UID},
        "annotations": {names.JOB_OWNER_GVK: names.JOB_OWNER_GVK_VALUE} if ours else {},
        "finalizers": [names.WORKLOAD_FINALIZER],
    }
    return made


def a_set(name: str) -> Object:
    return harness.leader_worker_set(name, namespace="", size=1, replicas=0) | {
        "metadata": {"name": name, "labels": {names.QUEUE_NAME: "q"}}
    }


MARKS = {"labels": {names.SET_NAME: SET, names.WORKER_INDEX: "0"}, "annotations": {names.SIZE: "1"}}


@pytest.fixture(scope="module")
def alone(cluster: sandbox.Sandbox, backend: sandbox.Backend) -> Iterator[sandbox.Sandbox]:
    """A cluster in which nobody reconciles what is made by hand here.

    The shared cluster is asked for first: where none can be had, that one says why.
    """
    if backend == "kubeconfig":
        pytest.skip("needs a cluster without a controller")
    options = sandbox.Options(nodes=1)
    with sandbox.open(backend, options=options) as own, kueue.start(own) as own.kueue:
        harness.install(own)
        yield own


@pytest.fixture(scope="module")
def place(alone: sandbox.Sandbox) -> Iterator[Place]:
    cluster, installed = alone, alone.api
    with harness.own_namespace(cluster, "own-rights") as namespace, _account(cluster, namespace):
        made = installed.create(
            harness.leader_worker_set(SET, namespace=namespace, size=1, replicas=1, queue="none")
        )
        account = client.Client(cluster.service_account_kubeconfig(namespace, ACCOUNT))
        here = Place(installed, account, namespace, made["metadata"]["uid"])
        for obj, owners in (
            (pod(f"{SET}-0", **MARKS), ()),
            # Somebody has taken the label away, and then everything.
            (pod(f"{SET}-0-1", annotations={names.SIZE: "1"}), ()),
            (pod(f"{SET}-0-2"), ()),
            (pod("own"), ()),
            (stateful_set("other"), ()),
            (stateful_set(SET), (here.owner(),)),
            (revision("ours"), (here.owner(),)),
            (revision("others"), ()),
            (service(SET), (here.owner(),)),
            (workload("ours"), (here.owner(controls=False),)),
            (workload("copied"), ()),
            (workload("others", ours=False), ()),
        ):
            here.create(obj, *owners, dry_run=False, by="admin")
        installed.wait_for(*POD, "other-0", lambda found: found is not None, namespace=namespace)

        def bound() -> bool:
            try:
                here.create(pod("x"))
            except client.ApiError as error:
                return "'lws-kueue-own-pods'" in str(error.body)
            return False

        support.eventually(bound, what="the account has its role, and the policy binds it")
        yield here


@contextlib.contextmanager
def _account(cluster: sandbox.Sandbox, namespace: str) -> Iterator[None]:
    account = {"name": ACCOUNT, "namespace": namespace}
    cluster.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    groups = ("", "apps", "events.k8s.io", names.LWS_GROUP)
    workloads = ("workloads", "workloads/status")
    with _allowed(
        cluster.api,
        account,
        *(_rule(group) for group in groups),
        _rule(names.KUEUE_GROUP, *workloads),
    ):
        yield


def _rule(group: str, *what: str) -> Object:
    return {"apiGroups": [group], "resources": list(what) or ["*"], "verbs": ["*"]}


@contextlib.contextmanager
def _allowed(api: client.Client, account: Object, *rules: Object) -> Iterator[None]:
    """Give an account rights in the whole cluster for a while."""
    name = {"name": f"e2e-{secrets.token_hex(3)}"}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": name}
    api.create({**role, "rules": list(rules)})
    binding = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": name}
    given = {"apiGroup": RBAC, "kind": "ClusterRole", **name}
    subjects = [{"kind": "ServiceAccount", **account}]
    api.create({**binding, "roleRef": given, "subjects": subjects})
    try:
        yield
    finally:
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            api.delete(f"{RBAC}/v1", kind, name["name"])


Act = Callable[[Place], object]


def patch(
    what: tuple[str, str], name: str, body: Object, sub: str = "", *, kind: str = "merge"
) -> Act:
    return lambda place: place.patch(what, name, body, sub, kind=kind)


def delete(what: tuple[str, str], name: str, **options: Any) -> Act:
    return lambda place: place.delete(what, name, **options)


def meta(**fields: Any) -> Object:
    return {"metadata": fields}


def conditions(*types: str) -> Object:
    return {
        "conditions": [
            {
                "type": each,
                "status": "True",
                "reason": "Test",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for each in types
        ]
    }


RELEASED: Object = {
    "metadata": {
        "labels": {names.PODSET: "leader", "cloud.example/zone": "a"},
        "annotations": {names.WORKLOAD: "w"},
    },
    "spec": {
        "schedulingGates": [{"name": OWN_GATE}],
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    },
}
STOPPED = meta(finalizers=[names.STOPPED_FINALIZER])
FOREIGN_FINALIZER = meta(finalizers=["example.com/hold"])
ADMISSION: Object = {
    "admission": {
        "clusterQueue": "c",
        "podSetAssignments": [{"name": "main", "count": 1}],
    }
}
CHECKS: Object = {
    "admissionChecks": [
        {
            "name": "check",
            "state": "Ready",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
}

# What is tried, and what is said of it.
REFUSED: dict[str, tuple[Act, str]] = {
    "a pod": (lambda place: place.create(pod(f"{SET}-7", **MARKS)), "creates no pods"),
    "a label on a pod of nobody's": (patch(POD, "own", meta(labels={"a": "b"})), NO_BUSINESS),
    "a pod of nobody's": (delete(POD, "own"), NO_BUSINESS),
    "a pod of another StatefulSet": (delete(POD, "other-0"), NO_BUSINESS),
    "gates of a pod of another StatefulSet": (
        patch(POD, "other-0", {"spec": {"schedulingGates": None}}),
        NO_BUSINESS,
    ),
    "the image of a pod": (
        patch(
            POD,
            f"{SET}-0",
            {"spec": {"containers": [{"name": "c", "image": "registry.example/x"}]}},
            kind="strategic",
        ),
        "spec: ",
    ),
    "another party's gate": (patch(POD, f"{SET}-0", {"spec": {"schedulingGates": None}}), "spec: "),
    "the set of a pod": (
        patch(POD, f"{SET}-0", meta(labels={names.SET_NAME: "another"})),
        "metadata.labels",
    ),
    "a new mark of LWS": (
        patch(POD, f"{SET}-0", meta(labels={names.REVISION_KEY: "x"})),
        "metadata.labels",
    ),
    "an annotation that goes": (
        patch(POD, f"{SET}-0", meta(annotations={names.SIZE: None})),
        "metadata.annotations",
    ),
    "another finalizer of a pod": (patch(POD, f"{SET}-0", FOREIGN_FINALIZER), "finalizers"),
    "an owner of a pod": (
        lambda place: place.patch(POD, f"{SET}-0", meta(ownerReferences=[place.owner()])),
        "metadata.ownerReferences",
    ),
    "a StatefulSet of nobody's": (
        lambda place: place.create(stateful_set("x")),
        "metadata.ownerReferences",
    ),
    "a StatefulSet that a set does not control": (
        lambda place: place.create(stateful_set(SET), place.owner(controls=False)),
        "metadata.ownerReferences",
    ),
    "a StatefulSet of another set": (
        lambda place: place.create(stateful_set("x"), place.owner()),
        "metadata.ownerReferences",
    ),
    "a StatefulSet of a ReplicaSet": (
        lambda place: place.create(stateful_set("x"), place.owner("ReplicaSet", "x")),
        "metadata.ownerReferences",
    ),
    "replicas of another StatefulSet": (
        patch(STATEFUL_SET, "other", {"spec": {"replicas": 3}}),
        "metadata.ownerReferences",
    ),
    "another owner of a StatefulSet": (
        lambda place: place.patch(
            STATEFUL_SET, SET, meta(ownerReferences=[place.owner() | {"uid": UID}])
        ),
        "takes no StatefulSet from its owner",
    ),
    "an end of a StatefulSet": (delete(STATEFUL_SET, SET), "deletes no StatefulSets"),
    "a set that is stored": (
        lambda place: place.account.create(a_set("x") | meta(name="x", namespace=place.namespace)),
        "other than as a dry run",
    ),
    "a change of a set": (patch(A_SET, SET, {"spec": {"replicas": 5}}), "other than as a dry run"),
    "an end of a set": (delete(A_SET, SET), "other than as a dry run"),
    "a Workload of nobody's": (lambda place: place.create(workload("x")), "metadata.labels"),
    "a Workload without the mark": (
        lambda place: place.create(workload("x", ours=False)),
        NO_BUSINESS,
    ),
    "a Workload of another UID": (
        lambda place: place.create(workload("x"), place.owner(controls=False)),
        "metadata.labels[kueue.x-k8s.io/job-uid]",
    ),
    "another's Workload": (delete(WORKLOAD, "others"), NO_BUSINESS),
    "the queue of another's Workload": (
        patch(WORKLOAD, "others", {"spec": {"queueName": "q"}}),
        NO_BUSINESS,
    ),
    "another's Workload made ours": (
        lambda place: place.patch(
            WORKLOAD, "others", meta(ownerReferences=[place.owner(controls=False)])
        ),
        NO_BUSINESS,
    ),
    "the status of another's Workload": (
        patch(WORKLOAD, "others", {"status": conditions("PodsReady")}, "status"),
        NO_BUSINESS,
    ),
    "an admission": (patch(WORKLOAD, "ours", {"status": ADMISSION}, "status"), "grants none"),
    "a condition by which a group is admitted": (
        patch(WORKLOAD, "ours", {"status": conditions("Admitted")}, "status"),
        "grants none",
    ),
    "an answer to a check": (
        patch(WORKLOAD, "ours", {"status": CHECKS}, "status"),
        "status.admissionChecks",
    ),
    "a Service of nobody's": (lambda place: place.create(service("x")), NO_BUSINESS),
    "a Service with an address": (
        lambda place: place.create(
            service("x", clusterIP=None, ports=[{"port": 80}]), place.owner()
        ),
        "headless",
    ),
    "a change of a Service": (patch(SERVICE, SET, meta(labels={"a": "b"})), "changes no Services"),
    "a revision of nobody's": (lambda place: place.create(revision("x")), NO_BUSINESS),
    "another's revision": (delete(REVISION, "others"), NO_BUSINESS),
    "a change of a revision": (patch(REVISION, "ours", {"revision": 2}), "ControllerRevisions"),
    "anything in kube-system": (
        lambda place: place.account.create(
            {
                **stateful_set(SET),
                "metadata": {
                    "name": SET,
                    "namespace": "kube-system",
                    "ownerReferences": [place.owner()],
                },
            },
            dry_run=True,
        ),
        "nothing in kube-system",
    ),
    "a trial in kube-system": (
        lambda place: place.account.create(
            a_set("x") | meta(name="x", namespace="kube-system"), dry_run=True
        ),
        "nothing in kube-system",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_token_of_the_controller_does_not_give(place: Place, what: str) -> None:
    act, says = REFUSED[what]
    with support.refused() as refusal:
        act(place)
    assert "'lws-kueue-own-" in refusal.message
    assert "controller of LeaderWorkerSets" in refusal.message
    assert says in refusal.message


NEEDED: dict[str, Act] = {
    "the release of a pod": patch(POD, f"{SET}-0", RELEASED),
    "the finalizer of a pod that is stopped": patch(POD, f"{SET}-0", STOPPED, kind="apply"),
    "a pod that is stopped": delete(POD, f"{SET}-0"),
    "a pod that is removed from a lost node": delete(POD, f"{SET}-0", gracePeriodSeconds=0),
    "a group that is recreated": delete(POD, f"{SET}-0", propagationPolicy="Foreground"),
    "a pod that lost the label": delete(POD, f"{SET}-0-1"),
    "a pod that lost all marks": delete(POD, f"{SET}-0-2"),
    "the finalizer of a pod that lost all marks": patch(POD, f"{SET}-0-2", STOPPED, kind="apply"),
    "a leader StatefulSet": lambda place: place.create(stateful_set("x"), place.owner(name="x")),
    "a worker StatefulSet": lambda place: place.create(
        stateful_set(f"{SET}-0"), place.owner("Pod", f"{SET}-0")
    ),
    "a scale of the leader StatefulSet": patch(STATEFUL_SET, SET, {"spec": {"replicas": 3}}),
    "a StatefulSet that gets its owner back": lambda place: place.patch(
        STATEFUL_SET,
        "other",
        meta(ownerReferences=[place.owner(name="other")]) | {"spec": {"replicas": 2}},
    ),
    "a trial of a set": lambda place: place.create(a_set("x")),
    "the status of a set": patch(A_SET, SET, {"status": {"replicas": 1}}, "status"),
    "a Workload": lambda place: place.create(
        workload("x", uid=place.uid), place.owner(controls=False)
    ),
    "the queue of a Workload": patch(WORKLOAD, "ours", {"spec": {"queueName": "q"}}),
    "the queue of a Workload of MultiKueue": patch(
        WORKLOAD, "copied", {"spec": {"queueName": "q"}}
    ),
    "a Workload that gets its owner back": lambda place: place.patch(
        WORKLOAD, "copied", meta(ownerReferences=[place.owner(controls=False)])
    ),
    "the finalizer of a Workload": patch(WORKLOAD, "ours", meta(finalizers=None)),
    "an end of a Workload": delete(WORKLOAD, "ours"),
    "readiness of a group": patch(WORKLOAD, "ours", {"status": conditions("PodsReady")}, "status"),
    "quota that is given back": patch(
        WORKLOAD, "ours", {"status": conditions("Requeued", "Evicted")}, "status"
    ),
    "a shared Service": lambda place: place.create(service("x"), place.owner()),
    "a Service of a group": lambda place: place.create(
        service(f"{SET}-0"), place.owner("Pod", f"{SET}-0")
    ),
    "a revision": lambda place: place.create(revision("x"), place.owner()),
    "an end of a revision": delete(REVISION, "ours"),
    "an Event in kube-system": lambda place: place.account.create(
        {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": "x", "namespace": "kube-system"},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "type": "Normal",
            "reason": "Test",
            "action": "Test",
            "regarding": {"kind": "Pod", "namespace": "kube-system", "name": "x"},
            "reportingController": "example.com/test",
            "reportingInstance": "x",
        },
        dry_run=True,
    ),
}


@pytest.mark.parametrize("what", NEEDED)
def test_the_controller_can_do(place: Place, what: str) -> None:
    NEEDED[what](place)


def test_quota_that_was_granted_is_kept_or_given_back(place: Place) -> None:
    name = "granted"
    place.create(
        workload(name, uid=place.uid), place.owner(controls=False), dry_run=False, by="admin"
    )
    granted = {"status": ADMISSION | conditions("QuotaReserved", "Admitted")}
    place.admin.patch(
        *WORKLOAD, name, namespace=place.namespace, body=granted, subresource="status"
    )
    ready = conditions("QuotaReserved", "Admitted", "PodsReady")
    place.patch(WORKLOAD, name, {"status": ready}, "status")
    place.patch(WORKLOAD, name, {"status": {"admission": None} | conditions("Evicted")}, "status")


def test_who_may_answer_checks_tells_nothing_else_of_workloads_of_others(place: Place) -> None:
    account = {"name": ACCOUNT, "namespace": place.namespace}
    right = _rule(names.KUEUE_GROUP, "admissionchecks/status")
    with _allowed(place.admin, account, right):

        def answers() -> bool:
            try:
                place.patch(WORKLOAD, "others", {"status": CHECKS}, "status")
            except client.ApiError as error:
                if NO_BUSINESS not in str(error.body):
                    raise
                return False
            return True

        support.eventually(answers, what="the answer is taken")
        place.patch(WORKLOAD, "ours", {"status": CHECKS}, "status")
        for more in (conditions("PodsReady"), ADMISSION):
            with support.refused() as refusal:
                place.patch(WORKLOAD, "others", {"status": CHECKS | more}, "status")
            assert NO_BUSINESS in refusal.message


def test_the_policies_bind_nobody_else(place: Place) -> None:
    place.create(pod("x"), by="admin")
    place.create(stateful_set("x"), by="admin")
    place.create(workload("x", ours=False), by="admin")
    place.create(service("x", clusterIP=None, ports=[{"port": 80}]), by="admin")
