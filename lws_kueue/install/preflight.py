"""What the controller needs of an API server, checked before anything else happens."""

from typing import Final

from lws_kueue.api import names
from lws_kueue.runtime import client

LEAST_MINOR: Final = 36
POLICY_API: Final = "admissionregistration.k8s.io/v1"
POLICY_NAMES: Final = "mutatingadmissionpolicies"


class Unfit(Exception):
    """The cluster cannot be served; the message says why and what to do."""


async def check(api: client.Client) -> None:
    """Refuse an API server that is too old or lacks what pods' identity depends on.

    Raises:
        Unfit: with the reason.
    """
    await check_server(api)
    await _check_served(
        api,
        f"/apis/{names.LWS_API_VERSION}",
        f"The LeaderWorkerSet API ({names.LWS_API_VERSION}) is not installed; "
        "run `lws-kueue install` first.",
    )
    for policy in ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"):
        await _check_served(
            api,
            f"/apis/{POLICY_API}/{policy}/lws-kueue-pod-identity",
            "The admission policy lws-kueue-pod-identity is not installed; run "
            "`lws-kueue install` first. Without it pods have no identity.",
        )


async def check_server(api: client.Client) -> None:
    """Check the version, and that mutating admission policies are served at all."""
    version = await api.request("GET", "/version")
    major = int(version.get("major", "0"))
    minor = int(str(version.get("minor", "0")).rstrip("+"))
    if (major, minor) < (1, LEAST_MINOR):
        raise Unfit(
            f"The API server is Kubernetes {version.get('gitVersion')}; lws-kueue needs "
            f"1.{LEAST_MINOR} or later, because pods get their identity from mutating admission "
            f"policies ({POLICY_API})."
        )
    served = await api.request("GET", f"/apis/{POLICY_API}")
    if not any(item.get("name") == POLICY_NAMES for item in served.get("resources") or ()):
        raise Unfit(
            f"The API server does not serve {POLICY_NAMES}.{POLICY_API}; enable the feature gate "
            "MutatingAdmissionPolicy. Without it pods get no group index and no LWS variables."
        )


async def _check_served(api: client.Client, path: str, problem: str) -> None:
    try:
        await api.request("GET", path)
    except client.ApiError as error:
        if error.status != 404:
            raise
        raise Unfit(problem) from error
