"""What surrounds sets: nodes, and Kueue's queues, flavors and topologies, to be created."""

from collections.abc import Mapping, Sequence
from typing import Any

from lws_kueue.api import names

Object = dict[str, Any]
Amounts = Mapping[str, str]

HOST = "kubernetes.io/hostname"


def kueues(kind: str, name: str, *, namespace: str = "", **spec: Any) -> Object:
    """Return an object of Kueue's."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def local_queue(name: str, *, namespace: str, cluster_queue: str) -> Object:
    """Return a LocalQueue."""
    return kueues("LocalQueue", name, namespace=namespace, clusterQueue=cluster_queue)


def topology(name: str, levels: Sequence[str]) -> Object:
    """Return a Topology with the node labels of its levels."""
    return kueues("Topology", name, levels=[{"nodeLabel": level} for level in levels])


def cluster_queue(name: str, *quotas: Mapping[str, Amounts], **spec: Any) -> Object:
    """Return a ClusterQueue for all namespaces.

    Each of ``quotas`` is a resource group, which gives nominal quota by flavor and resource; the
    flavors of a group have the same resources.
    """
    groups = [resource_group(quota) for quota in quotas]
    given: Object = {"namespaceSelector": {}, "resourceGroups": groups, **spec}
    return kueues("ClusterQueue", name, **given)


def resource_group(quota: Mapping[str, Amounts]) -> Object:
    """Return a resource group of a ClusterQueue."""
    return {
        "coveredResources": list(next(iter(quota.values()))),
        "flavors": [
            {
                "name": flavor,
                "resources": [{"name": r, "nominalQuota": q} for r, q in amounts.items()],
            }
            for flavor, amounts in quota.items()
        ],
    }


def node(name: str, *, labels: Mapping[str, str], offers: Amounts) -> Object:
    """Return a node that kwok plays."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {HOST: name, "type": "kwok", **labels},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"capacity": dict(offers), "allocatable": dict(offers)},
    }
