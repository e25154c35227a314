"""Asks a cluster who it is and what it serves, and puts into words why it does not answer."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Literal

from lws_kueue.api import names
from lws_kueue.dispatch import eligibility, kubeconfig
from lws_kueue.runtime import client, definitions, resources

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_LONGEST: Final = 300

Reason = Literal["BadKubeConfig", "Unauthorized", "Forbidden", "NotKubernetes", "Unreachable"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no link to a cluster; ``reason`` is that of a condition."""

    reason: Reason
    text: str

    @property
    def final(self) -> bool:
        """Whether it will not go away by asking again."""
        return self.reason == "Unauthorized"


async def beat(api: client.Client) -> None:
    """Ask whether a cluster answers (E1).

    Raises:
        client.ApiError: it does not, or it is no Kubernetes.
    """
    version = await api.request("GET", "/version")
    if not isinstance(version.get("gitVersion"), str):
        message = "GET /version has no gitVersion"
        raise client.ApiError(status=0, reason="NotJson", message=message, request="GET /version")


async def served(api: client.Client) -> eligibility.Served:
    """Look what a cluster has (E1 to E5).

    Raises:
        client.ApiError: it does not answer, or not as a Kubernetes API server does.
    """
    try:
        return await _served(api)
    except (AttributeError, KeyError, TypeError) as error:
        message = "an answer is not of the shape that it should have"
        raise client.ApiError(status=0, reason="NotJson", message=message, request="") from error


async def _served(api: client.Client) -> eligibility.Served:
    await beat(api)
    kinds = await definitions.served(api, (resources.WORKLOADS, resources.SETS))
    workloads = definitions.name(resources.WORKLOADS) in kinds
    # Where this is served, so is the version.
    kueue = (names.KUEUE_VERSION,) if workloads else await _versions(api)
    granted = await asyncio.gather(*(_may(api, right) for right in eligibility.RIGHTS))
    pairs = zip(eligibility.RIGHTS, granted, strict=True)
    return eligibility.Served(
        kueue=kueue,
        workloads=workloads,
        sets=definitions.name(resources.SETS) in kinds,
        denied=tuple(right for right, may in pairs if not may),
        uid=await uid_of(api),
    )


async def uid_of(api: client.Client) -> str:
    """Return what a cluster is known by, the UID of kube-system; "" if it may not be read.

    Raises:
        client.ApiError: it does not answer.
    """
    try:
        found = await api.get(resources.NAMESPACES, name="kube-system")
    except client.ApiError as error:
        if error.status != 403:
            raise
        return ""
    return str(((found or {}).get("metadata") or {}).get("uid") or "")


async def _versions(api: client.Client) -> tuple[str, ...]:
    try:
        group = await api.request("GET", f"/apis/{names.KUEUE_GROUP}")
    except client.ApiError as error:
        if error.status == 404:
            return ()
        raise
    return tuple(str(one.get("version")) for one in group.get("versions") or ())


async def _may(api: client.Client, right: eligibility.Right) -> bool:
    attributes = {"group": right.group, "resource": right.resource, "verb": right.verb}
    body: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    # It is kept nowhere.
    answer = await api.request("POST", _REVIEWS, body=body)
    return (answer.get("status") or {}).get("allowed") is True


def fault_of(error: client.ApiError, endpoint: kubeconfig.Endpoint) -> Fault:
    """Say why a request failed: in the server's words if it speaks as an API server does."""
    status = error.status
    speaks = error.answer.get("kind") == "Status"
    words = f": {_short(endpoint.scrubbed(error.message))}" if speaks or not status else ""
    if status == 401:
        return Fault("Unauthorized", f"its API server refuses the credentials (401){words}")
    if status == 403:
        return Fault("Forbidden", f"its API server denies what every client may ask (403){words}")
    if 300 <= status < 400:
        text = f"it answers with a redirect ({status}), which is not followed"
        return Fault("NotKubernetes", text)
    if error.reason == "NotJson" or (400 <= status < 500 and status != 429 and not speaks):
        code = f" ({status})" if status else ""
        return Fault("NotKubernetes", f"what answers{code} is no Kubernetes API server")
    if status:
        return Fault("Unreachable", f"its API server fails ({status}){words}")
    return Fault("Unreachable", f"its API server cannot be reached{words}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
