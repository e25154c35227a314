"""Whether the cluster serves the version of Kueue's API that the bridge speaks."""

from typing import Final

from lws_kueue.api import names
from lws_kueue.controller.observe import observed
from lws_kueue.runtime import asking

_NOT_THERE: Final = (
    f"Kueue is not installed: the API group {names.KUEUE_GROUP} is not served; install Kueue "
    "(>= 0.15)"
)


async def probe(api: asking.Requests) -> tuple[observed.Support, str]:
    """Ask the API server which versions of Kueue's API it serves.

    Returns the support and, unless it is "served", a sentence that says what to change.
    """
    try:
        group = await api.request("GET", f"/apis/{names.KUEUE_GROUP}")
    except asking.ApiError as error:
        if error.status == 404:
            return "missing", _NOT_THERE
        raise
    served = [str(version.get("version")) for version in group.get("versions") or ()]
    if names.KUEUE_VERSION not in served:
        return "unsupported", (
            f"The installed Kueue serves {names.KUEUE_GROUP} {', '.join(served)} but not "
            f"{names.KUEUE_VERSION}; upgrade Kueue to 0.15 or later"
        )
    kinds = await api.request("GET", f"/apis/{names.KUEUE_API_VERSION}")
    if not any(item.get("name") == "workloads" for item in kinds.get("resources") or ()):
        return "missing", _NOT_THERE
    return "served", ""
