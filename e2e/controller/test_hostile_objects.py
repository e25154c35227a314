"""Hostile objects: each is named in a Warning on its set, and no other set notices anything.

All cases are set up at once, in one namespace, around two sets that nothing is done to: a
bystander beside them, and in another namespace a twin of every name. Each test awaits the Warning
of its own case; the last ones look at what was left alone, and undo what was done.
"""

import dataclasses
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.live import harness, selection

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
POD, SERVICE = ("v1", "Pod"), ("v1", "Service")
STATEFUL_SET, REVISION = ("apps/v1", "StatefulSet"), ("apps/v1", "ControllerRevision")
CHILDREN = (POD, SERVICE, STATEFUL_SET, REVISION)

SET, INDEX, WORKER = names.SET_NAME, names.GROUP_INDEX, names.WORKER_INDEX
KEY, SIZE = names.REVISION_KEY, names.SIZE
BYSTANDER = "bystander"
Kind = tuple[str, str]
Body = dict[str, Any]


@dataclasses.dataclass
class Stage:
    """Where everything happens."""

    cluster: sandbox.Sandbox
    namespace: str
    elsewhere: str
    cases: list[str]
    before: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    repaired: set[str] = dataclasses.field(default_factory=set)
    refused: dict[str, client.ApiError] = dataclasses.field(default_factory=dict)

    def get(self, kind: Kind, name: str) -> Body:
        return self.cluster.api.get(*kind, name, namespace=self.namespace)

    def patch(self, kind: Kind, name: str, body: Body) -> None:
        self.cluster.api.patch(*kind, name, namespace=self.namespace, body=body)

    def create(self, body: Body) -> Body:
        body["metadata"]["namespace"] = self.namespace
        return self.cluster.api.create(body)

    def uids(self, kind: Kind, name: str) -> dict[str, str]:
        """The objects of a set by name, their UIDs."""
        found = self.cluster.api.list(
            *kind, namespace=self.namespace, label_selector=f"{SET}={name}"
        )
        return {obj["metadata"]["name"]: obj["metadata"]["uid"] for obj in found}

    def revision(self, name: str) -> Body:
        """The revision of a set, as opposed to those of the StatefulSet controller."""
        found = self.cluster.api.list(
            *REVISION, namespace=self.namespace, label_selector=f"{SET}={name}"
        )
        (own,) = [r for r in found if r["metadata"]["ownerReferences"][0]["kind"] == LWS[1]]
        return own


Spoil = Callable[[Stage, str], None]


@dataclasses.dataclass(frozen=True)
class Case:
    """What is done to a set, before or after it is ready, and what its Warning has to say.

    In ``warning``, NAME stands for the name of the set; "" says that the API server refuses it.
    ``repair`` is done at the end; None says that the set is or came into order by itself.
    """

    spoil: Spoil
    warning: str
    first: bool = False
    repair: Spoil | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def relabel(kind: Kind, suffix: str, label: str, value: str | None) -> Spoil:
    """Change a label of the object whose name is the set's with ``suffix``; None takes it away."""

    def spoil(stage: Stage, name: str) -> None:
        stage.patch(kind, name + suffix, {"metadata": {"labels": {label: value}}})

    return spoil


def annotate(kind: Kind, suffix: str, annotation: str, value: str | None) -> Spoil:
    def spoil(stage: Stage, name: str) -> None:
        stage.patch(kind, name + suffix, {"metadata": {"annotations": {annotation: value}}})

    return spoil


def named(suffix: str, label: str = SET) -> Spoil:
    """Give a pod of the set its name back."""

    def repair(stage: Stage, name: str) -> None:
        relabel(POD, suffix, label, name)(stage, name)

    return repair


def key_of(source: str, target: str) -> Spoil:
    """Give a pod the key that another one of its group still has."""

    def repair(stage: Stage, name: str) -> None:
        key = stage.get(POD, name + source)["metadata"]["labels"][KEY]
        relabel(POD, target, KEY, key)(stage, name)

    return repair


def edited(kind: Kind, suffix: str, label: str, value: str | None) -> Case:
    """A label that was edited where it can be put right by hand."""
    right = {INDEX: "0", WORKER: "0" if suffix == "-0" else "1"}.get(label)
    text = f"{kind[1]} NAME{suffix}: label {label} should be '.*' and is {value!r}"
    repair = named(suffix) if label == SET else relabel(kind, suffix, label, right)
    return Case(relabel(kind, suffix, label, value), text, repair=repair)


def foreign_stateful_set(suffix: str, **labels: str) -> Spoil:
    def spoil(stage: Stage, name: str) -> None:
        own = {"app": "somebody-else"}
        pod = {"containers": [{"name": "c", "image": harness.IMAGE}]}
        stage.create(
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {
                    "name": name + suffix,
                    "labels": {k: v.replace("NAME", name) for k, v in labels.items()},
                },
                "spec": {
                    "replicas": 0,
                    "serviceName": name,
                    "selector": {"matchLabels": own},
                    "template": {"metadata": {"labels": own}, "spec": pod},
                },
            }
        )

    return spoil


def foreign_service(suffix: str, **spec: Any) -> Spoil:
    def spoil(stage: Stage, name: str) -> None:
        ports = [{"port": 80, "protocol": "TCP"}]
        metadata = {"name": name + suffix}
        body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
        stage.create({**body, "spec": {"ports": ports, **spec}})

    return spoil


def delete(kind: Kind, suffix: str) -> Spoil:
    def repair(stage: Stage, name: str) -> None:
        stage.cluster.api.delete(*kind, name + suffix, namespace=stage.namespace)

    return repair


def foreign_pod(stage: Stage, name: str) -> None:
    """A pod that has all labels of a worker, and no owner."""
    labels = stage.get(POD, f"{name}-0-1")["metadata"]["labels"]
    labels = {k: v for k, v in labels.items() if k.startswith(names.LWS_PREFIX)}
    metadata = {"name": f"stray-{name}-9", "labels": labels, "annotations": {SIZE: "2"}}
    spec = {"containers": [{"name": "c", "image": harness.IMAGE}]}
    stage.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def hold(stage: Stage, name: str) -> None:
    """Keep the leader from going, and make its group go."""
    stage.patch(POD, f"{name}-0", {"metadata": {"finalizers": ["example.com/keep"]}})
    stage.cluster.api.delete(*POD, f"{name}-0-1", namespace=stage.namespace)


def let_go(stage: Stage, name: str) -> None:
    stage.patch(POD, f"{name}-0", {"metadata": {"finalizers": None}})


def another_revision(data: Any, *, key: str | None = "bogus", number: int = 0) -> Spoil:
    """Make a revision that the set owns; ``key`` None is the key that the set is at."""

    def spoil(stage: Stage, name: str) -> None:
        genuine = stage.revision(name)
        labels = {**genuine["metadata"]["labels"]}
        labels |= {KEY: key} if key else {}
        metadata = {
            "name": f"bogus-{name}",
            "labels": labels,
            "ownerReferences": genuine["metadata"]["ownerReferences"],
        }
        body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata}
        try:
            stage.create({**body, "revision": number, "data": data})
        except client.ApiError as error:
            stage.refused[name] = error

    return spoil


def revision_of_somebody(stage: Stage, name: str) -> None:
    owner = stage.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"owner-{name}"}}
    )
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"]}
    reference |= {"uid": owner["metadata"]["uid"], "controller": True}
    metadata = {
        "name": f"bogus-{name}",
        "labels": stage.revision(name)["metadata"]["labels"],
        "ownerReferences": [reference],
    }
    body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata}
    stage.create({**body, "revision": 99, "data": {"spec": {}}})


def relabel_revision(label: str, value: str | None) -> Spoil:
    def spoil(stage: Stage, name: str) -> None:
        # As kubectl does it. A patch that wrote the data in other words would be refused.
        stage.cluster.api.patch(
            *REVISION,
            stage.revision(name)["metadata"]["name"],
            namespace=stage.namespace,
            body={"metadata": {"labels": {label: value}}},
            patch_type="strategic",
        )

    return spoil


def nested(depth: int) -> Any:
    data: Any = 1
    for _ in range(depth):
        data = {"a": data}
    return data


BROKEN = "ControllerRevision bogus-NAME cannot be used: "
DIFFERENT = {
    "spec": {
        "leaderWorkerTemplate": {"workerTemplate": {"spec": {"containers": []}}, "size": 7},
        "networkConfig": {"subdomainPolicy": "Shared"},
    }
}
UNIQUE = {"networkConfig": {"subdomainPolicy": "UniquePerReplica"}}

CASES = {
    # Labels of pods. A pod that its StatefulSet no longer selects is let go and is in the way.
    "leader-index": edited(POD, "-0", INDEX, "7"),
    "leader-worker-index": edited(POD, "-0", WORKER, "one"),
    "leader-no-name": edited(POD, "-0", SET, None),
    "leader-of-another": edited(POD, "-0", SET, BYSTANDER),
    "leader-of-nobody": edited(POD, "-0", SET, "nobody"),
    "leader-key": Case(
        relabel(POD, "-0", KEY, "edited"),
        f"Pod NAME-0: label {KEY} should be '.*' and is 'edited'",
        repair=key_of("-0-1", "-0"),
    ),
    "worker-index": edited(POD, "-0-1", INDEX, "first"),
    "worker-worker-index": edited(POD, "-0-1", WORKER, "two"),
    "worker-no-name": edited(POD, "-0-1", SET, None),
    "worker-of-another": edited(POD, "-0-1", SET, BYSTANDER),
    "worker-key": Case(
        relabel(POD, "-0-1", KEY, "edited"),
        f"Pod NAME-0-1: label {KEY} should be '.*' and is 'edited'",
        repair=key_of("-0", "-0-1"),
    ),
    # Annotations and finalizers of pods.
    "leader-size": Case(
        annotate(POD, "-0", SIZE, "many"), f"Pod NAME-0: annotation {SIZE} should be '2' and is"
    ),
    "leader-size-long": Case(
        annotate(POD, "-0", SIZE, "9" * 5000), f"Pod NAME-0: annotation {SIZE} should be '2' and is"
    ),
    "leader-as-worker": Case(
        annotate(POD, "-0", names.LEADER_NAME, "x"), f".*pod .*NAME-0 .*{names.LEADER_NAME}"
    ),
    "leader-held": Case(hold, "Pod NAME-0: is being deleted, .*: example.com/keep", repair=let_go),
    # StatefulSets.
    "set-no-name": Case(
        relabel(STATEFUL_SET, "", SET, None), f"StatefulSet NAME: label {SET} should be"
    ),
    "set-of-another": Case(
        relabel(STATEFUL_SET, "", SET, BYSTANDER), f"StatefulSet NAME: label {SET} should be"
    ),
    "set-key": Case(
        relabel(STATEFUL_SET, "", KEY, "edited"), f"StatefulSet NAME: label {KEY} should be"
    ),
    "set-replicas": Case(
        annotate(STATEFUL_SET, "", names.REPLICAS, "many"),
        f"StatefulSet NAME: annotation {names.REPLICAS} should be a number",
    ),
    "set-replicas-long": Case(
        annotate(STATEFUL_SET, "", names.REPLICAS, "9" * 5000),
        f"StatefulSet NAME: annotation {names.REPLICAS} should be a number",
    ),
    "workers-no-name": Case(
        relabel(STATEFUL_SET, "-0", SET, None), f"StatefulSet NAME-0: label {SET} should be"
    ),
    "workers-of-another": Case(
        relabel(STATEFUL_SET, "-0", SET, BYSTANDER), f"StatefulSet NAME-0: label {SET} should be"
    ),
    "foreign-leaders": Case(
        foreign_stateful_set(""),
        "StatefulSet NAME exists and has no owner",
        first=True,
        repair=delete(STATEFUL_SET, ""),
    ),
    "foreign-labelled": Case(
        foreign_stateful_set("", **{SET: "NAME"}),
        "StatefulSet NAME exists and has no owner",
        first=True,
        repair=delete(STATEFUL_SET, ""),
    ),
    "foreign-workers": Case(
        foreign_stateful_set("-0"),
        ".*StatefulSet NAME-0 exists and has no owner",
        first=True,
        repair=delete(STATEFUL_SET, "-0"),
    ),
    "foreign-pod": Case(foreign_pod, f"Pod stray-NAME-9: has the label {SET}=NAME"),
    # Services.
    "service-no-name": Case(
        relabel(SERVICE, "", SET, None), f"Service NAME: label {SET} should be"
    ),
    "service-selector": Case(
        lambda stage, name: stage.patch(
            SERVICE, name, {"spec": {"selector": {"app": "somebody-else"}}}
        ),
        "Service NAME: does not select pod NAME-0",
    ),
    "foreign-service": Case(
        foreign_service("", selector={"app": "x"}), "Service NAME: is not headless", first=True
    ),
    "foreign-group-service": Case(
        foreign_service("-0", clusterIP="None", selector={"app": "x"}),
        "Service NAME-0: does not select pod NAME-0",
        first=True,
        options=UNIQUE,
    ),
    # Revisions.
    "revision-no-name": Case(
        relabel_revision(SET, None), f"ControllerRevision NAME-.*: label {SET} should be"
    ),
    "revision-key": Case(
        relabel_revision(KEY, "edited"), f"ControllerRevision NAME-.*: label {KEY} should be"
    ),
    "revision-list": Case(another_revision([1, 2]), ""),
    "revision-text": Case(another_revision("text"), ""),
    "revision-empty": Case(another_revision({"spec": {}}), BROKEN),
    "revision-types": Case(
        another_revision(
            {"spec": {"leaderWorkerTemplate": {"workerTemplate": 5}, "networkConfig": {}}}
        ),
        BROKEN,
    ),
    "revision-number": Case(
        another_revision({"spec": {"leaderWorkerTemplate": {"size": 10**30}, "networkConfig": {}}}),
        BROKEN,
    ),
    "revision-nested": Case(another_revision(nested(5000)), BROKEN),
    "revision-same-key": Case(
        another_revision(DIFFERENT, key=None),
        "ControllerRevision bogus-NAME: has the key .* as well as NAME-",
    ),
    "revision-same-key-newer": Case(another_revision({"spec": 5}, key=None, number=7), BROKEN),
    "revision-of-somebody": Case(
        revision_of_somebody, "ControllerRevision bogus-NAME: has the label .*ConfigMap owner-NAME"
    ),
}

# One of each kind: pods, StatefulSets, Services, revisions; edited, foreign, broken and held.
FEW = {
    *("leader-index", "leader-key", "worker-of-another", "leader-size-long"),
    *("set-of-another", "set-replicas", "workers-no-name", "foreign-leaders", "foreign-workers"),
    *("foreign-pod", "service-selector", "revision-key", "revision-list", "revision-types"),
}

# What a restart of the first group, and nothing else, may have done.
RESTARTED = ("leader-held", "leader-key")


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest,
    installed: sandbox.Sandbox,
    shared_controller: harness.ControllerProcess,
) -> Iterator[Stage]:
    """All sets of the cases that run, and everything done to them; tests look at the outcome."""
    if not shared_controller.running:
        shared_controller.start()
    suffix = secrets.token_hex(3)
    cases = selection.values(request, "name")
    result = Stage(installed, f"hostile-{suffix}", f"hostile-twins-{suffix}", cases)
    # For what is nested deeply; it has to be read here as well.
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(25_000)
    for namespace in (result.namespace, result.elsewhere):
        metadata = {"name": namespace}
        installed.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        installed.api.wait_for(
            "v1", "ServiceAccount", "default", lambda found: found, namespace=namespace
        )
    try:
        _set_up(result)
        yield result
    finally:
        print(shared_controller.tail(200))
        for name in result.cases:
            harness_finalizers(result, name)
        for namespace in (result.namespace, result.elsewhere):
            installed.api.delete("v1", "Namespace", namespace, missing_ok=True)
        sys.setrecursionlimit(before)


def harness_finalizers(stage: Stage, name: str) -> None:
    """Take away what would keep the namespace from going."""
    if stage.cluster.api.find(*POD, f"{name}-0", namespace=stage.namespace):
        let_go(stage, name)


def small(name: str, namespace: str, **options: Any) -> Body:
    return harness.leader_worker_set(
        name, namespace=namespace, replicas=2, size=2, cpu="1m", **options
    )


def _set_up(stage: Stage) -> None:
    api = stage.cluster.api
    cases = {name: CASES[name] for name in stage.cases}
    for name, case in cases.items():
        if case.first:
            case.spoil(stage, name)
    for name, case in cases.items():
        api.create(small(name, stage.namespace, **case.options))
    api.create(small(BYSTANDER, stage.namespace))
    for name in ("leader-no-name", BYSTANDER):
        api.create(small(name, stage.elsewhere))
        harness.wait_ready(stage.cluster, name, namespace=stage.elsewhere, groups=2, timeout=120)
    for name, case in cases.items():
        blocked = case.warning.startswith(("StatefulSet NAME exists", ".*StatefulSet"))
        if not blocked:
            harness.wait_ready(
                stage.cluster, name, namespace=stage.namespace, groups=2, timeout=120
            )
    harness.wait_ready(stage.cluster, BYSTANDER, namespace=stage.namespace, groups=2)
    stage.before = {
        "bystander": everything(stage, stage.namespace, BYSTANDER),
        "twin": everything(stage, stage.elsewhere, "leader-no-name"),
        "pods": {
            name: pod["metadata"]["uid"]
            for name, pod in harness.pods(stage.cluster, namespace=stage.namespace).items()
        },
    }
    for name, case in cases.items():
        if not case.first:
            case.spoil(stage, name)


def everything(stage: Stage, namespace: str, name: str) -> dict[str, str]:
    """The set and its objects, with the version each is at."""
    api = stage.cluster.api
    found = {
        f"{kind[1]} {obj['metadata']['name']}": obj["metadata"]["resourceVersion"]
        for kind in CHILDREN
        for obj in api.list(*kind, namespace=namespace)
        if re.fullmatch(rf"{name}(-.*)?", obj["metadata"]["name"])
    }
    live = api.get(*LWS, name, namespace=namespace)
    return found | {"set": live["metadata"]["resourceVersion"]}


@selection.parametrize("name", CASES, few=FEW)
def test_a_hostile_object_is_named_in_a_warning_on_its_set(stage: Stage, name: str) -> None:
    if not CASES[name].warning:
        assert stage.refused[name].status == 422
        return
    pattern = re.compile(CASES[name].warning.replace("NAME", name))
    stage.cluster.api.wait_for_all(
        "events.k8s.io/v1",
        "Event",
        lambda seen: any(
            event["type"] == "Warning"
            and event["regarding"]["name"] == name
            and pattern.match(event["note"])
            for event in seen.values()
        ),
        namespace=stage.namespace,
        # A deletion that is held up is told after a minute.
        timeout=120,
        what=f"a Warning on {name} that says {pattern.pattern!r}",
    )


@selection.EACH_TIME
def test_no_other_set_and_no_other_group_has_changed(stage: Stage, which: str) -> None:
    assert everything(stage, stage.namespace, BYSTANDER) == stage.before["bystander"]
    assert everything(stage, stage.elsewhere, "leader-no-name") == stage.before["twin"]
    now = harness.pods(stage.cluster, namespace=stage.namespace)
    changed = {
        name
        for name, uid in stage.before["pods"].items()
        if name not in now or now[name]["metadata"]["uid"] != uid
    }
    allowed = {f"{case}-0{suffix}" for case in RESTARTED for suffix in ("", "-1")}
    assert changed <= allowed


@selection.EACH_TIME
def test_every_set_is_ready_again_once_what_its_warning_names_is_put_right(
    stage: Stage, which: str
) -> None:
    for name in stage.cases:
        repair = CASES[name].repair
        if repair is not None and name not in stage.repaired:
            repair(stage, name)
    stage.repaired.update(stage.cases)
    for name in stage.cases:
        harness.wait_status(
            stage.cluster,
            name,
            lambda live: (harness.condition(live, "Available") or {}).get("status") == "True",
            namespace=stage.namespace,
            timeout=120,
            what="available",
            readyReplicas=2,
        )
