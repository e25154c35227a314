"""What somebody who may edit a namespace can do to what is made for a set, if that is in a queue.

Everything is a dry run of the user's: an answer of the API server, which admission has a part in.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from lws_kueue_lab import manifests, sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.admission import support
from tests.kit.live import harness

Object = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
KINDS = {
    "pod": ("v1", "Pod"),
    "statefulset": ("apps/v1", "StatefulSet"),
    "set": (names.LWS_API_VERSION, names.LWS_KIND),
}
SET = "serve"
NAMES = {"pod": f"{SET}-0", "statefulset": SET, "set": SET}
MARK = {names.POD_SUSPENDING_PARENT: names.OUR_SUSPENDING_PARENT}
LABELS = {names.SET_NAME: SET, names.WORKER_INDEX: "0"}
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


def statefulset(name: str, *, namespace: str, marked: bool) -> Object:
    """A leader StatefulSet, as the controller makes it for a set of single pods."""
    gate = [{"name": names.ADMISSION_GATE}] if marked else []
    container = {
        "name": "c",
        "image": harness.IMAGE,
        "resources": {"requests": {"cpu": "100m", "memory": "1Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "serviceName": SET,
            "template": {
                "metadata": {
                    "labels": LABELS,
                    "annotations": {names.SIZE: "1"} | (MARK if marked else {}),
                },
                "spec": {
                    "containers": [container],
                    # Another party holds it back as well, so it stays as it is.
                    "schedulingGates": [*gate, {"name": "example.com/own"}],
                },
            },
        },
    }


def own_statefulset(
    name: str, *, namespace: str, pods: Object | None = None, owner: str | None = None
) -> Object:
    """A StatefulSet of somebody's own; ``pods`` are more labels of its pods."""
    body = statefulset(name, namespace=namespace, marked=False)
    labels = {"app": "own"}
    body["metadata"]["labels"] = labels
    body["spec"]["selector"] = {"matchLabels": labels}
    body["spec"]["template"]["metadata"]["labels"] = labels | (pods or {})
    if owner is not None:
        reference = {"apiVersion": names.LWS_API_VERSION, "kind": owner, "name": SET, "uid": "1"}
        body["metadata"]["ownerReferences"] = [reference]
    return body


def a_pod(name: str, *, namespace: str, marks: Object, labels: Object = LABELS) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {names.SIZE: "1"} | marks,
        },
        "spec": {"containers": [{"name": "c", "image": harness.IMAGE}]},
    }


@dataclass
class Place:
    """A namespace with a set, its StatefulSet and its pod, and whoever may edit there."""

    admin: client.Client
    user: client.Client
    namespace: str

    def patch(self, what: str, body: Object, sub: str = "", name: str = "") -> Object:
        """Patch an object as the user."""
        path = self._path(what, name or NAMES[what], sub)
        kind = "merge" if what == "set" or "status" in body or sub == "scale" else "strategic"
        answer: Object = self.user.request(
            "PATCH",
            path,
            query={"dryRun": "All"},
            body=body,
            content_type=f"application/{kind}{'-merge' if kind == 'strategic' else ''}-patch+json",
        )
        return answer

    def create(self, obj: Object) -> Object:
        """Create an object as the user."""
        return self.user.create(obj, dry_run=True)

    def delete(self, what: str, **options: Any) -> None:
        """Delete an object as the user, with these options."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"], **options}
        self.user.request("DELETE", self._path(what, NAMES[what]), body=body)

    def evict(self) -> None:
        """Evict the pod as the user, as `kubectl drain` does."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": NAMES["pod"], "namespace": self.namespace},
        }
        path = self._path("pod", NAMES["pod"], "eviction")
        self.user.request("POST", path, query={"dryRun": "All"}, body=body)

    def _path(self, what: str, name: str, sub: str = "") -> str:
        path = self.user.resource(*KINDS[what]).path(namespace=self.namespace, name=name)
        return f"{path}/{sub}" if sub else path


@pytest.fixture(scope="module")
def with_roles(cluster: sandbox.Sandbox, installed: client.Client) -> sandbox.Sandbox:
    """The policies, the roles of users, and one for what `edit` may not: to debug and to resize."""
    for obj in manifests.manager_objects():
        installed.apply(obj)
    rule = {
        "apiGroups": [""],
        "resources": ["pods/resize", "pods/ephemeralcontainers"],
        "verbs": ["patch"],
    }
    installed.apply(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "e2e-debug-and-resize"},
            "rules": [rule],
        }
    )
    return cluster


def made(cluster: sandbox.Sandbox, namespace: str, *, queue: bool) -> Place:
    """Make what is the same for a set in a queue and for a plain one."""
    api = cluster.api
    for role in ("edit", "e2e-debug-and-resize"):
        api.create(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": namespace},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
            }
        )
    # Nobody reconciles here: what a controller makes is made by hand.
    api.create(
        harness.leader_worker_set(
            SET, namespace=namespace, size=1, replicas=1, queue="user-queue" if queue else None
        )
    )
    api.create(statefulset(SET, namespace=namespace, marked=queue))
    api.create(a_pod("own", namespace=namespace, marks={}, labels={"app": "own"}))
    api.wait_for(*KINDS["pod"], NAMES["pod"], lambda pod: pod is not None, namespace=namespace)
    user = client.Client(cluster.service_account_kubeconfig(namespace, "default"))
    place = Place(api, user, namespace)

    def may() -> bool:
        try:
            place.patch("set", {"metadata": {"labels": {"a": "b"}}})
            place.patch("pod", DEBUG, "ephemeralcontainers")
        except client.ApiError:
            return False
        return True

    support.eventually(may, what="the roles of the user are known")
    # The parameters of a policy are known a moment later than what is made of them.
    scaled = (lambda: place.patch("statefulset", REPLICAS, "scale")) if queue else may

    def guarded() -> bool:
        try:
            scaled()
        except client.ApiError:
            return True
        return not queue

    support.eventually(guarded, what="the set is a parameter")
    return place


@pytest.fixture(scope="module")
def place(with_roles: sandbox.Sandbox) -> Iterator[Place]:
    """A set in a queue."""
    with harness.own_namespace(with_roles, "guard-in-a-queue") as namespace:
        yield made(with_roles, namespace, queue=True)


@pytest.fixture(scope="module")
def plain(with_roles: sandbox.Sandbox) -> Iterator[Place]:
    """A set that names no queue."""
    with harness.own_namespace(with_roles, "guard-plain") as namespace:
        yield made(with_roles, namespace, queue=False)


Act = Callable[[Place], object]


def cpu(amount: str) -> Object:
    return {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]}}


def template(change: Object) -> Object:
    return {"spec": {"template": change}}


def label(key: str, value: str | None) -> Object:
    return {"metadata": {"labels": {key: value}}}


def annotation(key: str, value: str | None) -> Object:
    return {"metadata": {"annotations": {key: value}}}


def patch(what: str, body: Object, sub: str = "", name: str = "") -> Act:
    return lambda place: place.patch(what, body, sub, name)


def delete(what: str, **options: Any) -> Act:
    return lambda place: place.delete(what, **options)


REPLICAS = {"spec": {"replicas": 8}}
DEBUG = {"spec": {"ephemeralContainers": [{"name": "d", "image": harness.IMAGE}]}}
UNGATE = {
    "spec": {"schedulingGates": [{"$patch": "delete", "name": names.ADMISSION_GATE}]},
}
OPEN_OWN_GATE = {"spec": {"schedulingGates": [{"$patch": "delete", "name": "example.com/own"}]}}
IMAGE = {"spec": {"containers": [{"name": "c", "image": "registry.example/other:1"}]}}
FORGED_OWNER = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "name": "x",
    "uid": "00000000-0000-0000-0000-000000000000",
}
OWNED = {"metadata": {"ownerReferences": [FORGED_OWNER]}}


@dataclass(frozen=True)
class Refused:
    """What is tried, by which fault, and what the message says of field and way out."""

    what: str
    act: Act
    says: tuple[str, ...]
    faults: tuple[str, ...] = field(default=())


def create_owned_by(kind: str) -> Act:
    """Make a StatefulSet of one's own that is said to belong to something of a set."""
    return lambda place: place.create(own_statefulset("x", namespace=place.namespace, owner=kind))


CHANGE_THE_SET = ("LeaderWorkerSet serve", "change")
REFUSED = (
    Refused(
        "a bigger template of a StatefulSet",
        patch("statefulset", template(cpu("8"))),
        ("spec.template", *CHANGE_THE_SET),
        ("Q1",),
    ),
    Refused(
        "a foreign container in a StatefulSet",
        patch("statefulset", template({"spec": {"containers": [{"name": "x", "image": "x"}]}})),
        ("spec.template", *CHANGE_THE_SET),
        ("Q2",),
    ),
    Refused(
        "requests of the pod as a whole",
        patch("statefulset", template({"spec": {"resources": {"requests": {"cpu": "8"}}}})),
        ("spec.template", *CHANGE_THE_SET),
        ("Q2",),
    ),
    Refused(
        "a StatefulSet scaled up",
        patch("statefulset", REPLICAS, "scale"),
        ("spec.replicas", "scale the LeaderWorkerSet"),
        ("Q3",),
    ),
    Refused(
        "replicas of a StatefulSet",
        patch("statefulset", REPLICAS),
        ("spec:", "spec.replicas", *CHANGE_THE_SET),
        ("Q3",),
    ),
    Refused(
        "a StatefulSet without the gate",
        patch("statefulset", template(UNGATE)),
        ("spec.template", *CHANGE_THE_SET),
        ("Q15",),
    ),
    Refused(
        "a StatefulSet without the mark",
        patch("statefulset", template(annotation(names.POD_SUSPENDING_PARENT, None))),
        ("spec.template", *CHANGE_THE_SET),
        ("Q4",),
    ),
    Refused(
        "a StatefulSet without the label",
        patch("statefulset", label(names.SET_NAME, None)),
        ("metadata.labels", "your own can"),
        ("Q4",),
    ),
    Refused(
        "a StatefulSet of another owner",
        patch("statefulset", OWNED),
        ("metadata.ownerReferences",),
        ("Q5",),
    ),
    Refused("the gate of a pod", patch("pod", UNGATE), ("spec:", "Kueue has admitted"), ("Q9",)),
    Refused("the image of a pod", patch("pod", IMAGE), ("spec:", *CHANGE_THE_SET), ("Q1",)),
    Refused(
        "the mark of a pod",
        patch("pod", annotation(names.POD_SUSPENDING_PARENT, None)),
        ("metadata.annotations", "of your own can"),
        ("Q4", "Q10"),
    ),
    Refused(
        "the Workload of a pod",
        patch("pod", annotation(names.WORKLOAD, "another")),
        ("metadata.annotations", "of your own can"),
        ("Q14",),
    ),
    Refused(
        "the revision of a pod",
        patch("pod", label(names.REVISION_KEY, "small")),
        ("metadata.labels", "of your own can"),
        ("Q7",),
    ),
    Refused(
        "the hash by which a StatefulSet knows its template",
        patch("pod", label("controller-revision-hash", "x")),
        ("metadata.labels", "of your own can"),
        ("Q4",),
    ),
    Refused(
        "a pod without the label",
        patch("pod", label(names.SET_NAME, None)),
        ("metadata.labels", "of your own can"),
        ("Q4",),
    ),
    Refused("a pod of another owner", patch("pod", OWNED), ("metadata.ownerReferences",), ("Q5",)),
    Refused(
        "a pod that is made to look stopped",
        patch("pod", {"metadata": {"finalizers": [names.STOPPED_FINALIZER]}}),
        ("metadata.finalizers",),
        ("Q5",),
    ),
    Refused(
        "a pod that is resized to more",
        patch("pod", cpu("200m"), "resize"),
        ("resources.requests", "more than Kueue has admitted"),
        ("Q12",),
    ),
    Refused(
        "a new pod with the mark",
        lambda place: place.create(a_pod(f"{SET}-0-1", namespace=place.namespace, marks=MARK)),
        ("created by its StatefulSets",),
        ("Q1", "Q3"),
    ),
    Refused(
        "a new pod without the mark",
        lambda place: place.create(a_pod(f"{SET}-0-1", namespace=place.namespace, marks={})),
        ("created by its StatefulSets",),
        ("Q1", "Q3"),
    ),
    Refused(
        "a pod that is labelled later",
        patch("pod", label(names.SET_NAME, SET), name="own"),
        ("metadata.labels",),
        ("Q1", "Q3"),
    ),
    Refused(
        "a new StatefulSet with the mark",
        lambda place: place.create(statefulset("x", namespace=place.namespace, marked=True)),
        ("create a LeaderWorkerSet",),
        ("Q3",),
    ),
    Refused(
        "a new StatefulSet with the name of a set",
        lambda place: place.create(statefulset("x", namespace=place.namespace, marked=False)),
        ("create a LeaderWorkerSet",),
        ("Q3",),
    ),
    Refused(
        "a new StatefulSet whose pods have the name of a set",
        lambda place: place.create(
            own_statefulset("x", namespace=place.namespace, pods={names.SET_NAME: SET})
        ),
        ("create a LeaderWorkerSet",),
        ("Q3",),
    ),
    *(
        Refused(
            f"a new StatefulSet that {whom} owns",
            create_owned_by(kind),
            ("create a LeaderWorkerSet",),
            ("Q3",),
        )
        for whom, kind in (("a set", names.LWS_KIND), ("a leader", "Pod"))
    ),
    *(
        Refused(f"a {what} that leaves {left} ({option})", act, ("in the background",), ("Q5",))
        for what, left in (("set", "all"), ("statefulset", "pods"), ("pod", "workers"))
        for option, act in (
            ("propagationPolicy", delete(what, propagationPolicy="Orphan")),
            ("orphanDependents", delete(what, orphanDependents=True)),
        )
    ),
    *(
        Refused(
            f"a {what} that is marked to leave all behind",
            patch(what, {"metadata": {"finalizers": ["orphan"]}}),
            ("metadata.finalizers", "orphan"),
            ("Q5",),
        )
        for what in KINDS
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.what)
def test_who_may_edit_is_told_how_to_do_it_instead(place: Place, case: Refused) -> None:
    with support.refused() as refusal:
        case.act(place)
    assert "'lws-kueue-guard-" in refusal.message
    for part in case.says:
        assert part in refusal.message


FREE: dict[str, Act] = {
    "labels of a pod": patch("pod", label("team", "a")),
    "annotations of a pod": patch("pod", annotation("example.com/note", "a")),
    "finalizers of a pod": patch("pod", {"metadata": {"finalizers": ["example.com/hold"]}}),
    "another party's gate": patch("pod", OPEN_OWN_GATE),
    "debugging a pod": patch("pod", DEBUG, "ephemeralcontainers"),
    "a pod that is resized to less": patch("pod", cpu("50m"), "resize"),
    "eviction of a pod": Place.evict,
    "labels of a StatefulSet": patch("statefulset", label("team", "a")),
    "annotations of a StatefulSet": patch("statefulset", annotation("example.com/note", "a")),
    "restart of a StatefulSet": patch("statefulset", template(annotation(RESTARTED_AT, "now"))),
    "scaling the set": patch("set", REPLICAS, "scale"),
    "replicas of the set": patch("set", REPLICAS),
    "pods of the user's own": lambda place: place.create(
        a_pod("mine", namespace=place.namespace, marks={}, labels={"app": "mine"})
    ),
    **{
        f"deleting a {what} ({policy})": delete(what, propagationPolicy=policy)
        for what in KINDS
        for policy in ("Background", "Foreground")
    },
    **{f"deleting a {what}": delete(what) for what in KINDS},
}


@pytest.mark.parametrize("what", FREE)
def test_everything_else_stays_free(place: Place, what: str) -> None:
    FREE[what](place)


PLAIN: dict[str, Act] = {
    "template of a StatefulSet": patch("statefulset", template(cpu("8"))),
    "scale of a StatefulSet": patch("statefulset", REPLICAS, "scale"),
    "replicas of a StatefulSet": patch("statefulset", REPLICAS),
    "labels of a pod": patch("pod", label(names.GROUP_INDEX, "7")),
    "image of a pod": patch("pod", IMAGE),
    "a pod that is resized to more": patch("pod", cpu("200m"), "resize"),
    "a new StatefulSet": lambda place: place.create(
        own_statefulset("x", namespace=place.namespace)
    ),
    **{f"orphans of a {what}": delete(what, propagationPolicy="Orphan") for what in KINDS},
}


@pytest.mark.parametrize("what", PLAIN)
def test_a_set_without_a_queue_is_not_guarded(plain: Place, what: str) -> None:
    PLAIN[what](plain)


@pytest.mark.parametrize("what", KINDS)
def test_whoever_may_admit_may_leave_things_behind(place: Place, what: str) -> None:
    Place(place.admin, place.admin, place.namespace).delete(what, propagationPolicy="Orphan")


def test_a_pod_with_the_mark_is_born_gated_whatever_its_template_says(place: Place) -> None:
    given = a_pod(f"{SET}-3", namespace=place.namespace, marks=MARK)
    assert harness.gates(place.admin.create(given, dry_run=True)) == [names.ADMISSION_GATE]
