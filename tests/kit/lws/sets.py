"""What the tests of whole sets share: how sets are made and awaited, and what a recording tells."""

import contextlib
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from lws_kueue_lab import manifests, sandbox
from lws_kueue_lab.sandbox import stages

from lws_kueue.api import names
from tests.kit.live import harness
from tests.kit.lws.sample import LWS, Object, Sample, base

STATEFUL_SET = ("apps/v1", "StatefulSet")
POD = ("v1", "Pod")
NEW_IMAGE = "registry.k8s.io/pause:3.9"
SERVICE = ("v1", "Service")

# Readiness that takes a moment makes the steps of a rollout steps.
SLOW_START = {stages.BEHAVIOUR: stages.READY_AFTER, stages.SECONDS: "1"}


def named(name: str, *, namespace: str, slow: bool = False, **options: Any) -> Object:
    """Return the base set under another name; ``slow`` makes its pods ready after a second."""
    made = base(namespace, **options)
    made["metadata"]["name"] = name
    for pod in templates(made):
        pod["metadata"] = {"annotations": dict(SLOW_START) if slow else {}}
    return made


def templates(obj: Object) -> list[Object]:
    """Return the pod templates of a set, to be changed in place."""
    template = obj["spec"]["leaderWorkerTemplate"]
    return [
        template[field] for field in ("leaderTemplate", "workerTemplate") if template.get(field)
    ]


def give_new_image(obj: Object) -> None:
    """Have a set run another image, which changes nothing that is admitted."""
    for template in templates(obj):
        template["spec"]["containers"][0]["image"] = NEW_IMAGE


def example(file: str, *, namespace: str) -> list[Object]:
    """Return the objects of an example, moved to a namespace."""
    found = manifests.example(file)
    for obj in found:
        if "namespace" in obj["metadata"]:
            obj["metadata"]["namespace"] = namespace
    return found


def create(cluster: sandbox.Sandbox, *objects: Object) -> Sample:
    """Create objects, the first of them a set, which is returned."""
    for obj in objects:
        cluster.api.create(obj)
    meta = objects[0]["metadata"]
    return Sample(cluster, meta["namespace"], meta["name"])


def is_available(obj: Object | None, groups: int) -> bool:
    """Whether all groups are ready and updated, as the status says for the spec as it is now."""
    if obj is None:
        return False
    status, generation = obj.get("status") or {}, obj["metadata"]["generation"]
    available = harness.condition(obj, "Available") or {}
    return (
        (available.get("status"), available.get("observedGeneration")) == ("True", generation)
        and status.get("replicas", 0) == groups
        and status.get("readyReplicas", 0) == groups
        and status.get("updatedReplicas", 0) == groups
    )


def wait_available(sample: Sample, *, groups: int, timeout: float = 180.0) -> Object:
    """Wait until a set of exactly ``groups`` groups is available, all at its newest revision."""
    found = sample.cluster.api.wait_for(
        *LWS,
        sample.name,
        lambda seen: is_available(seen, groups),
        namespace=sample.namespace,
        timeout=timeout,
        what=f"{sample.name} is available with {groups} groups, all updated",
    )
    assert found is not None
    return found


def uids(pods: Mapping[str, Object]) -> dict[str, str]:
    """Return which object has which name, to tell a pod from its successor."""
    return {name: pod["metadata"]["uid"] for name, pod in pods.items()}


@contextlib.contextmanager
def namespaced(cluster: sandbox.Sandbox, slug: str) -> Iterator[str]:
    """Make a namespace for the tests of a module; its deletion is not waited for."""
    name = harness.make_namespace(cluster, f"{slug}-{secrets.token_hex(3)}")
    yield name
    cluster.api.delete("v1", "Namespace", name, missing_ok=True)


# What a recording tells ------------------------------------------------------------------------


def versions(record: harness.Recording, name: str) -> list[Object]:
    """Return what an object was like, in order, without its deletion."""
    return [
        event["object"]
        for event in record.events
        if event["type"] != "DELETED" and event["object"]["metadata"]["name"] == name
    ]


def steps(values: list[Any]) -> list[Any]:
    """Return values without those that repeat the one before."""
    return [value for at, value in enumerate(values) if at == 0 or value != values[at - 1]]


def replicas_over_time(record: harness.Recording, name: str) -> list[int]:
    """Return the numbers of replicas that a StatefulSet was told to have."""
    return steps([obj["spec"]["replicas"] for obj in versions(record, name)])


def names_of(record: harness.Recording, set_name: str) -> set[str]:
    """Return the names of the objects with a set's label that there ever were."""
    return {event["object"]["metadata"]["name"] for event in _of_set(record, set_name)}


def count_over_time(record: harness.Recording, set_name: str) -> list[int]:
    """Return how many objects with a set's label there were; the recording is of one kind."""
    there: set[str] = set()
    counts = [0]
    for event in _of_set(record, set_name):
        uid = event["object"]["metadata"]["uid"]
        there = there - {uid} if event["type"] == "DELETED" else there | {uid}
        counts.append(len(there))
    return steps(counts)


def ready_groups_over_time(record: harness.Recording, set_name: str, *, size: int) -> list[int]:
    """Return how many groups of a set were ready in all their pods; the recording is of pods."""
    ready: dict[str, str] = {}
    counts = [0]
    for event in _of_set(record, set_name):
        pod = event["object"]
        ready.pop(pod["metadata"]["name"], None)
        if event["type"] != "DELETED" and harness.is_ready(pod):
            ready[pod["metadata"]["name"]] = pod["metadata"]["labels"][names.GROUP_INDEX]
        counts.append(sum(count == size for count in Counter(ready.values()).values()))
    return steps(counts)


def _of_set(record: harness.Recording, set_name: str) -> list[Object]:
    return [
        event
        for event in record.events
        if (event["object"]["metadata"].get("labels") or {}).get(names.SET_NAME) == set_name
    ]
