"""Recorded sets put into a cluster as the Go manager left them, with nobody who reconciles sets.

Everything is created with the uids rewritten that the API server gives. The pods come first and
without owners, so that the StatefulSet controller adopts them with the labels and variables that
upstream's webhook gave them, and makes none by itself; so do the claims.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from lws_kueue.controller.observe import ordinals
from tests.kit import golden
from tests.kit.live import harness
from tests.kit.takeover import comparison

Object = dict[str, Any]

_SOME_TIME = "2026-01-01T00:00:00Z"

# What the API server adds to the spec of a StatefulSet; its manager does not apply it.
_SPEC_DEFAULTS = {
    "revisionHistoryLimit": 10,
    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
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


def recreate(
    cluster: sandbox.Sandbox,
    recording: golden.Golden,
    *,
    namespace: str,
    leave_out: Iterable[str] = (),
) -> None:
    """Put a recorded set into a namespace and wait until it is what was recorded.

    ``leave_out`` names objects, by kind and name, that the Go manager did not get to.
    """
    missing = frozenset(leave_out)
    objects = [
        obj
        for obj in comparison.in_namespace(recording.objects, namespace)
        if f"{obj['kind']} {obj['metadata']['name']}" not in missing
    ]
    made = _Maker(cluster)
    for obj in _in_order(objects):
        made.make(obj)
    _wait_until_as_recorded(cluster, objects, namespace=namespace)


def _in_order(objects: list[Object]) -> Iterator[Object]:
    """Owners before what they own, but for pods and claims, which their StatefulSets adopt."""
    of_kind: dict[str, list[Object]] = {}
    for obj in objects:
        of_kind.setdefault(obj["kind"], []).append(obj)
    pods = {pod["metadata"]["name"]: pod for pod in of_kind["Pod"]}
    sets = of_kind["StatefulSet"]
    yield from of_kind[names.LWS_KIND]
    yield from of_kind["ControllerRevision"]
    yield from of_kind.get("PersistentVolumeClaim", ())
    # The leader StatefulSet has the name of the set, the others those of the leader pods.
    for stateful_set in sorted(sets, key=lambda obj: obj["metadata"]["name"] in pods):
        yield from (
            pod
            for pod in pods.values()
            if ordinals.parent_and_ordinal(pod["metadata"]["name"])[0]
            == stateful_set["metadata"]["name"]
        )
        yield stateful_set
    for kind in ("Service", "Workload"):
        yield from of_kind.get(kind, ())


class _Maker:
    """Creates objects one after the other and gives each the new uids of those before."""

    def __init__(self, cluster: sandbox.Sandbox) -> None:
        self._cluster = cluster
        self._uids: dict[str, str] = {}

    def make(self, recorded: Object) -> None:
        text = json.dumps(recorded)
        for old, new in self._uids.items():
            text = text.replace(old, new)
        body = json.loads(text)
        uid, status = body["metadata"].pop("uid"), body.pop("status", None)
        made = self._make(body)
        self._uids[uid] = made["metadata"]["uid"]
        for condition in status.get("conditions", ()) if status else ():
            condition["lastTransitionTime"] = _SOME_TIME
        if body["kind"] == names.LWS_KIND:
            self._cluster.api.replace(made | {"status": status}, subresource="status")
        if body["kind"] == "Workload":
            self._admitted(body, status)

    def _admitted(self, workload: Object, status: Object) -> None:
        """Have the Kueue at hand admit a Workload, and say that its pods are ready."""
        identity = {key: workload[key] for key in ("apiVersion", "kind")}
        meta = {key: workload["metadata"][key] for key in ("name", "namespace")}
        self._cluster.api.wait_for(
            workload["apiVersion"],
            workload["kind"],
            meta["name"],
            lambda found: holds(found, "Admitted"),
            namespace=meta["namespace"],
            what="an admitted Workload",
        )
        ready = [given for given in status["conditions"] if given["type"] == "PodsReady"]
        body = identity | {"metadata": meta, "status": {"conditions": ready}}
        self._cluster.api.apply(body, subresource="status")

    def _make(self, body: Object) -> Object:
        if body["kind"] in ("Pod", "PersistentVolumeClaim"):
            del body["metadata"]["ownerReferences"]
        owner = body["metadata"].get("ownerReferences", [{}])[0].get("kind")
        if body["kind"] == "StatefulSet" and owner == names.LWS_KIND:
            return self._cluster.api.apply(_as_applied(body), field_manager=names.FIELD_MANAGER)
        return self._cluster.api.create(body)


def holds(found: Object | None, condition: str) -> bool:
    """Whether a condition of an object is True."""
    return (harness.condition(found or {}, condition) or {}).get("status") == "True"


def _as_applied(stored: Object) -> Object:
    """What the Go manager applied, from what was stored."""
    spec = stored["spec"]
    _remove(spec, _SPEC_DEFAULTS)
    _remove(spec["template"]["spec"], _POD_DEFAULTS)
    for container in spec["template"]["spec"]["containers"]:
        _remove(container, _CONTAINER_DEFAULTS)
    for claim in spec.get("volumeClaimTemplates", ()):
        claim.pop("status")
    # The API server does not store it, but who applied it owns it all the same.
    spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 1
    return stored


def _remove(values: Object, defaults: Object) -> None:
    for key, default in defaults.items():
        if values.get(key) == default:
            del values[key]


def _wait_until_as_recorded(
    cluster: sandbox.Sandbox, objects: list[Object], *, namespace: str
) -> None:
    """Wait for the StatefulSets' status: their pods are adopted, of the right hash, and run."""
    recorded = {
        obj["metadata"]["name"]: obj["status"] for obj in objects if obj["kind"] == "StatefulSet"
    }

    def as_recorded(found: Object) -> bool:
        return all(
            {**found[name]["status"], "observedGeneration": 0}
            == {**status, "observedGeneration": 0}
            for name, status in recorded.items()
        )

    cluster.api.wait_for_all(
        "apps/v1",
        "StatefulSet",
        lambda found: as_recorded(dict(found)),
        namespace=namespace,
        timeout=60,
        what=f"the recorded status of {sorted(recorded)}",
    )
