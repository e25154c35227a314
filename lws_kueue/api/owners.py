"""Owner references that our objects carry (the ownership tree of lws-contract 3)."""

from typing import Any

from lws_kueue.api import facts, lws, names


def of_set(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return the reference that makes a set the controller of an object."""
    return _controller(api_version=names.LWS_API_VERSION, kind=names.LWS_KIND, meta=owner.meta)


def of_pod(pod: facts.Pod) -> dict[str, Any]:
    """Return the reference that makes a leader pod the controller of an object."""
    return _controller(api_version="v1", kind="Pod", meta=pod.meta)


def _controller(*, api_version: str, kind: str, meta: facts.Meta) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
