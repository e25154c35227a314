"""Putting the API of the stand-in into a cluster that has no Kueue."""

import time
from typing import Final

from lws_kueue.api import names
from lws_kueue_lab.kueue_standin import policies, schemas
from lws_kueue_lab.sandbox import client, cluster

_ESTABLISHED_SECONDS: Final = 30.0
_CRD: Final = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


class ForeignKueueError(cluster.SandboxError):
    """The cluster has the API of a real Kueue, which the stand-in must never imitate."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the stand-in for Kueue does not start: the cluster has {found} of a real Kueue "
            f"(it lacks the annotation {schemas.ANNOTATION})"
        )


def check(api: client.Client) -> None:
    """Raise ForeignKueueError if any definition of Kueue's group is not the stand-in's."""
    for definition in api.list(*_CRD):
        metadata = definition["metadata"]
        ours = (metadata.get("annotations") or {}).get(schemas.ANNOTATION) == "true"
        if definition["spec"]["group"] == names.KUEUE_GROUP and not ours:
            raise ForeignKueueError(metadata["name"])


def install(api: client.Client) -> None:
    """Apply the definitions and the policy, and wait until the definitions are served.

    Raises:
        ForeignKueueError: the cluster has the definitions of a real Kueue.
    """
    check(api)
    definitions = schemas.definitions()
    for definition in definitions:
        api.apply(definition)
    for definition in definitions:
        api.wait_for(
            *_CRD,
            definition["metadata"]["name"],
            _established,
            timeout=_ESTABLISHED_SECONDS,
            what=f"{definition['metadata']['name']} established",
        )
    for policy in policies.policies():
        api.apply(policy)
    _wait_until_served(api)


def _established(definition: client.Object | None) -> bool:
    conditions = ((definition or {}).get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _wait_until_served(api: client.Client) -> None:
    """Established comes a moment before discovery and the handlers follow."""
    deadline = time.monotonic() + _ESTABLISHED_SECONDS
    for definition in schemas.definitions():
        kind = definition["spec"]["names"]["kind"]
        while True:
            try:
                api.list(names.KUEUE_API_VERSION, kind)
                break
            except (LookupError, client.ApiError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
