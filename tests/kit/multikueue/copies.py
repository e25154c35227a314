"""What Kueue's MultiKueue copies to a worker, for tests that are MultiKueue themselves, and what a
bridge must not do to it.

A real one is compared with it where one is at hand (``e2e/multikueue/test_built_in_path.py``).
"""

import copy
from collections.abc import Iterator
from typing import Any, Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.kit.live import harness

Object = dict[str, Any]

# What Kueue calls the manager unless it is told otherwise.
ORIGIN: Final = "multikueue"


def of_set(live: Object) -> Object:
    """Return the set as it arrives: with the UID that the names of its Workloads come of."""
    sent = _sent(live)
    sent["metadata"]["annotations"][names.MULTIKUEUE_ORIGIN_UID] = live["metadata"]["uid"]
    return sent


def of_workload(workload: Object) -> Object:
    """Return a Workload as it arrives: owned by nobody, and held by no finalizer."""
    sent = _sent(workload)
    sent["metadata"]["labels"].pop(names.JOB_UID, None)
    return sent


def content(obj: Object) -> Object:
    """Return what is copied of an object, without what each cluster adds."""
    metadata = obj["metadata"]
    kept = {key: metadata.get(key) or {} for key in ("labels", "annotations")}
    return {"metadata": {"name": metadata["name"], **kept}, "spec": obj["spec"]}


def _sent(obj: Object) -> Object:
    found = copy.deepcopy(content(obj))
    found["metadata"]["namespace"] = obj["metadata"]["namespace"]
    found["metadata"]["labels"][names.MULTIKUEUE_ORIGIN] = ORIGIN
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **found}


def tempting() -> Iterator[Object]:
    """Return what gives a priority to a set that is made in the cluster and has none."""
    for obj in manifests.api_objects(kueue=True, default_priority_class=True):
        if obj["metadata"]["name"] == "lws-kueue-default-priority":
            yield obj
    default: Object = {"metadata": {"name": "default"}, "value": 100}
    yield {"apiVersion": names.KUEUE_API_VERSION, "kind": "WorkloadPriorityClass", **default}


def written(cluster: sandbox.Sandbox, *, namespace: str, since: int) -> list[audit.Request]:
    """Return what the controller wrote of Workloads beside their status."""
    controller = ":".join(("system:serviceaccount", *harness.SERVICE_ACCOUNT))
    return [
        one
        for one in audit.requests(cluster, since=since)
        if one.is_write
        and one.namespace == namespace
        and (one.resource, one.user) == ("workloads", controller)
    ]
