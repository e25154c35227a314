"""Headless Services, through which the pods of a group find each other (lws-contract 3.4)."""

from typing import Any

from lws_kueue.api import facts, lws, names, owners
from lws_kueue.controller.observe import ordinals


def shared(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return the Service of all groups of a set (subdomain policy Shared)."""
    return _service(
        owner,
        name=owner.meta.name,
        selector={names.SET_NAME: owner.meta.name},
        reference=owners.of_set(owner),
    )


def of_group(owner: lws.LeaderWorkerSet, leader_pod: facts.Pod) -> dict[str, Any]:
    """Return the Service of one group (subdomain policy UniquePerReplica)."""
    _, index = ordinals.parent_and_ordinal(leader_pod.meta.name)
    return _service(
        owner,
        name=leader_pod.meta.name,
        selector={names.SET_NAME: owner.meta.name, names.GROUP_INDEX: str(index)},
        reference=owners.of_pod(leader_pod),
    )


def _service(
    owner: lws.LeaderWorkerSet,
    *,
    name: str,
    selector: dict[str, str],
    reference: dict[str, Any],
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": owner.meta.namespace,
            "labels": {names.SET_NAME: owner.meta.name},
            "ownerReferences": [reference],
        },
        "spec": {
            "clusterIP": "None",
            # Pods have to find each other before any of them is ready.
            "publishNotReadyAddresses": True,
            "selector": selector,
        },
    }
