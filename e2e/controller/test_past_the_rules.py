"""Writes that no rule sees, and pods that go without a word: the controller keeps its feet.

`/scale` and `/status` bypass the policies, and while the definition or the policies are away
anything can be stored. What cannot be worked with is said in a Warning and left alone.
"""

import contextlib
import copy
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client, stages

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws import checks

pytestmark = pytest.mark.usefixtures("controller")

LWS = (names.LWS_API_VERSION, names.LWS_KIND)
POLICIES = "admissionregistration.k8s.io/v1"
DEFINITION = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
OURS = "app.kubernetes.io/part-of=lws-kueue"
PATIENCE = 30.0


def uids(cluster: sandbox.Sandbox, namespace: str, prefix: str = "") -> dict[str, str]:
    """The pods of a namespace whose names begin so, their UIDs."""
    found = harness.pods(cluster, namespace=namespace)
    return {n: p["metadata"]["uid"] for n, p in found.items() if n.startswith(prefix)}


def events(cluster: sandbox.Sandbox, namespace: str, reason: str, name: str) -> list[str]:
    """What the events of one reason on a set say."""
    found = cluster.api.list("events.k8s.io/v1", "Event", namespace=namespace)
    return [e["note"] for e in found if (e["reason"], e["regarding"]["name"]) == (reason, name)]


def await_event(
    cluster: sandbox.Sandbox,
    namespace: str,
    reason: str,
    name: str,
    *,
    part: str = "",
    count: int = 1,
) -> None:
    """Wait until so many events tell something; they follow what they tell of."""
    cluster.api.wait_for_all(
        "events.k8s.io/v1",
        "Event",
        lambda seen: (
            sum(
                (e["reason"], e["regarding"]["name"]) == (reason, name) and part in e["note"]
                for e in seen.values()
            )
            >= count
        ),
        namespace=namespace,
        timeout=60,
        what=f"{reason} on {name} that says {part!r}",
    )


# Pods that go without a word --------------------------------------------------------------------


def test_a_worker_deleted_without_grace_recreates_its_group_exactly_once_each_time(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster, times = installed, 3
    cluster.api.create(harness.leader_worker_set("forced", namespace=namespace))
    harness.wait_ready(cluster, "forced", namespace=namespace, groups=2)
    other = uids(cluster, namespace, "forced-1")
    for time_ in range(times):
        before = uids(cluster, namespace, "forced-0")
        cluster.api.delete("v1", "Pod", "forced-0-1", namespace=namespace, grace_seconds=0)
        await_other_pods(cluster, namespace, before)
        await_event(cluster, namespace, "RecreateGroup", "forced", count=time_ + 1)
    assert len(events(cluster, namespace, "RecreateGroup", "forced")) == times
    assert uids(cluster, namespace, "forced-1") == other


def test_a_pod_that_fails_for_good_recreates_its_group_exactly_once(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("failing", namespace=namespace, replicas=1))
    harness.wait_ready(cluster, "failing", namespace=namespace, groups=1)
    before = uids(cluster, namespace)
    # The kubelet restarts the containers of such a pod no more; its StatefulSet replaces it.
    ends = {"metadata": {"annotations": {stages.BEHAVIOUR: stages.FAILED}}}
    cluster.api.patch("v1", "Pod", "failing-0-2", namespace=namespace, body=ends)
    await_other_pods(cluster, namespace, before)
    await_event(cluster, namespace, "RecreateGroup", "failing")
    assert len(events(cluster, namespace, "RecreateGroup", "failing")) == 1


def await_other_pods(cluster: sandbox.Sandbox, namespace: str, before: dict[str, str]) -> None:
    """Wait until all pods of a group are others, and ready."""
    harness.wait_pods(
        cluster,
        lambda seen: all(
            name in seen and harness.is_ready(seen[name]) and seen[name]["metadata"]["uid"] != uid
            for name, uid in before.items()
        ),
        namespace=namespace,
        what="all pods of the group made anew",
    )


def test_a_set_that_is_deleted_without_its_pods_and_made_again_takes_them_back(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    body = harness.leader_worker_set("orphaned", namespace=namespace)
    cluster.api.create(copy.deepcopy(body))
    harness.wait_ready(cluster, "orphaned", namespace=namespace, groups=2)
    before = uids(cluster, namespace)
    cluster.api.delete(*LWS, "orphaned", namespace=namespace, propagation="Orphan")
    # Garbage collection has to take the set off its revisions as well before it goes.
    cluster.api.wait_for(*LWS, "orphaned", lambda seen: seen is None, namespace=namespace)
    cluster.api.create(copy.deepcopy(body))
    harness.wait_ready(cluster, "orphaned", namespace=namespace, groups=2)
    live = cluster.api.get("apps/v1", "StatefulSet", "orphaned", namespace=namespace)
    assert [r["kind"] for r in live["metadata"]["ownerReferences"]] == [names.LWS_KIND]
    assert uids(cluster, namespace) == before

    def one_revision_is_left() -> None:
        assert len(own_revisions(cluster, namespace, "orphaned")) == 1

    checks.eventually(one_revision_is_left)


def own_revisions(cluster: sandbox.Sandbox, namespace: str, name: str) -> list[dict[str, Any]]:
    """The revisions of a set, as opposed to those of its StatefulSets."""
    found = cluster.api.list(
        "apps/v1",
        "ControllerRevision",
        namespace=namespace,
        label_selector=f"{names.SET_NAME}={name}",
    )
    return [
        r
        for r in found
        if all(o["kind"] != "StatefulSet" for o in r["metadata"].get("ownerReferences") or ())
    ]


# Status and scale -------------------------------------------------------------------------------

FOO = {
    "type": "Foo",
    "status": "Unknown",
    "reason": "Foo",
    "message": "",
    "lastTransitionTime": "2001-01-01T00:00:00Z",
}
NONSENSE: list[Any] = [
    {"conditions": []},
    {"conditions": None, "readyReplicas": None, "observedGeneration": None, "replicas": None},
    {"readyReplicas": 2**31 - 1, "updatedReplicas": -5, "replicas": 10**6},
    {"observedGeneration": 2**62},
    {"conditions": [{**FOO, "type": "Available", "status": "False", "observedGeneration": 2**40}]},
]


@pytest.mark.long
def test_a_status_written_by_hand_is_put_right(installed: sandbox.Sandbox, namespace: str) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("told", namespace=namespace))
    harness.wait_ready(cluster, "told", namespace=namespace, groups=2)
    # All that comes back has to be there before: StatefulSets count their pods later.
    settled = harness.wait_status(
        cluster, "told", available, namespace=namespace, readyReplicas=2, replicas=2
    )
    for nonsense in NONSENSE:
        cluster.api.patch(
            *LWS, "told", namespace=namespace, body={"status": nonsense}, subresource="status"
        )
        cluster.api.wait_for(
            *LWS,
            "told",
            lambda seen: bool(seen and essence(seen) == essence(settled)),
            namespace=namespace,
            what=f"the status as it was before {nonsense}",
        )
    # What clients may add is kept: a condition of their own, and the selector of autoscalers.
    kept = {"conditions": [*settled["status"]["conditions"], FOO], "hpaPodSelector": "app=x"}
    cluster.api.patch(
        *LWS, "told", namespace=namespace, body={"status": kept}, subresource="status"
    )
    harness.scale(cluster, "told", namespace=namespace, replicas=1)
    last = harness.wait_ready(cluster, "told", namespace=namespace, groups=1)
    assert last["status"]["hpaPodSelector"] == "app=x"
    assert harness.condition(last, "Foo") is not None


def available(obj: dict[str, Any]) -> bool:
    condition = harness.condition(obj, "Available")
    return condition is not None and condition["status"] == "True"


def essence(obj: dict[str, Any]) -> dict[str, Any]:
    """A status without times, and its conditions that are True."""
    status = obj["status"]
    true = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    return {**status, "conditions": true}


def test_a_scale_beyond_what_can_be_counted_is_refused(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    body = harness.leader_worker_set("vast", namespace=namespace, replicas=0, size=3000)
    cluster.api.create(body)
    with pytest.raises(client.ApiError) as refusal:
        harness.scale(cluster, "vast", namespace=namespace, replicas=1_000_000)
    assert refusal.value.status == 422
    assert "2147483647" in str(refusal.value.body)


# Stored past the rules --------------------------------------------------------------------------

TEMPLATE = {"spec": {"containers": [{"name": "c", "image": harness.IMAGE}]}}
STORED: dict[str, tuple[dict[str, Any], str]] = {
    "size-zero": ({"leaderWorkerTemplate": {"workerTemplate": TEMPLATE, "size": 0}}, "size"),
    "too-many": (
        {"replicas": 10**6, "leaderWorkerTemplate": {"workerTemplate": TEMPLATE, "size": 3000}},
        "replicas times size",
    ),
    "no-template": ({"leaderWorkerTemplate": {}}, "leaderWorkerTemplate.workerTemplate"),
    "odd-template": (
        {"leaderWorkerTemplate": {"workerTemplate": {"spec": {"containers": "none"}}}},
        "leaderWorkerTemplate.workerTemplate.spec.containers",
    ),
    "no-subgroups": (
        {
            "leaderWorkerTemplate": {
                "workerTemplate": TEMPLATE,
                "size": 2,
                "subGroupPolicy": {"subGroupSize": 0},
            }
        },
        "subGroupSize",
    ),
}


@contextlib.contextmanager
def no_rules(cluster: sandbox.Sandbox) -> Iterator[None]:
    """Let anything be stored as a LeaderWorkerSet, then install the rules again."""
    name = f"{names.LWS_PLURAL}.{names.LWS_GROUP}"
    definition = cluster.api.get(*DEFINITION, name)
    hooks = [*_hooks(cluster)]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything
    try:
        cluster.api.replace(definition)
        for hook in hooks:
            _set_hooks(cluster, hook, [one for one in hook["webhooks"] if not _for_sets(one)])
        for kind in ("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"):
            for binding in cluster.api.list(POLICIES, kind, label_selector=OURS):
                if "pod" not in binding["metadata"]["name"]:
                    cluster.api.delete(POLICIES, kind, binding["metadata"]["name"])
        yield
    finally:
        harness.install(cluster)
        for hook in hooks:
            _set_hooks(cluster, hook, hook["webhooks"])
        await_rules(cluster)


def _hooks(cluster: sandbox.Sandbox) -> Iterator[dict[str, Any]]:
    """Kueue's webhooks that look at sets; a real one has them whatever it integrates."""
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for found in cluster.api.list("admissionregistration.k8s.io/v1", kind):
            if any(_for_sets(one) for one in found["webhooks"]):
                yield {**found, "kind": kind}


def _for_sets(webhook: dict[str, Any]) -> bool:
    return any(names.LWS_PLURAL in rule["resources"] for rule in webhook.get("rules") or ())


def _set_hooks(
    cluster: sandbox.Sandbox, configuration: dict[str, Any], webhooks: list[dict[str, Any]]
) -> None:
    cluster.api.patch(
        "admissionregistration.k8s.io/v1",
        configuration["kind"],
        configuration["metadata"]["name"],
        body={"webhooks": webhooks},
    )


def await_rules(cluster: sandbox.Sandbox) -> None:
    """Wait until the policies are in effect again, those that refuse and those that complete."""
    stray = {names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "rack"}
    wrong = harness.leader_worker_set("rules", namespace="default", annotations=stray)
    bare = harness.leader_worker_set("defaults", namespace="default")
    deadline = time.monotonic() + PATIENCE
    while True:
        completed = cluster.api.create(copy.deepcopy(bare), dry_run=True)["spec"]
        try:
            cluster.api.create(copy.deepcopy(wrong), dry_run=True)
        except client.ApiError:
            if "networkConfig" in completed:
                return
        assert time.monotonic() < deadline, "the policies did not come into effect again"
        time.sleep(0.1)


def store(cluster: sandbox.Sandbox, body: dict[str, Any]) -> None:
    """Create or replace an object, as soon as the rules have gone out of effect."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if "resourceVersion" in body["metadata"]:
                cluster.api.replace(body)
            else:
                cluster.api.create(body)
            return
        except client.ApiError as error:
            if error.status not in (403, 422, 500) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def claim(size: str) -> dict[str, Any]:
    resources = {"requests": {"storage": size}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources}
    return {"metadata": {"name": "data"}, "spec": spec}


def test_what_was_stored_past_the_rules_is_named_and_left_alone(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    cluster = installed
    cluster.api.create(harness.leader_worker_set("healthy", namespace=namespace))
    claims = harness.leader_worker_set("claims", namespace=namespace, replicas=1, size=1)
    claims["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"] = [claim("1Gi")]
    cluster.api.create(claims)
    harness.wait_ready(cluster, "healthy", namespace=namespace, groups=2)
    before = uids(cluster, namespace, "healthy")
    cluster.api.wait_for(
        "apps/v1", "StatefulSet", "claims", lambda seen: seen is not None, namespace=namespace
    )
    with no_rules(cluster):
        for name, (spec, _) in STORED.items():
            metadata = {"name": name, "namespace": namespace}
            body = {"apiVersion": LWS[0], "kind": LWS[1], "metadata": metadata, "spec": spec}
            store(cluster, body)
        live = cluster.api.get(*LWS, "claims", namespace=namespace)
        live["spec"]["leaderWorkerTemplate"]["volumeClaimTemplates"] = [claim("2Gi")]
        store(cluster, live)
    for name, (_, part) in STORED.items():
        await_event(cluster, namespace, "InvalidSpec", name, part=part)
    await_event(cluster, namespace, "FailedUpdate", "claims", part="claims")
    await_passes(cluster, namespace, "claims", partitions=(1, 0, 1, 0))
    assert len(own_revisions(cluster, namespace, "claims")) == 2, "one for each content, none more"
    assert uids(cluster, namespace, "healthy") == before
    made = {p.rpartition("-")[0] for p in uids(cluster, namespace)}
    assert not made & set(STORED)
    # All that a person has to do is to store something right.
    cluster.api.patch(
        *LWS,
        "size-zero",
        namespace=namespace,
        body={"spec": {"leaderWorkerTemplate": {"size": 1}}},
    )
    harness.wait_ready(cluster, "size-zero", namespace=namespace, groups=1)
    harness.scale(cluster, "healthy", namespace=namespace, replicas=3)
    harness.wait_ready(cluster, "healthy", namespace=namespace, groups=3)


def await_passes(
    cluster: sandbox.Sandbox, namespace: str, name: str, *, partitions: tuple[int, ...]
) -> None:
    """Make the controller look at a set once for each partition, and wait until it has."""
    for partition in partitions:
        rolling = {"rollingUpdateConfiguration": {"partition": partition}}
        changed = cluster.api.patch(
            *LWS, name, namespace=namespace, body={"spec": {"rolloutStrategy": rolling}}
        )
        generation = changed["metadata"]["generation"]
        harness.wait_status(
            cluster, name, namespace=namespace, what=f"a pass over generation {generation}"
        )
