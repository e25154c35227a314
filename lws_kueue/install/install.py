"""Installs the API into a cluster: the CRD, the admission policies and the roles of users.

Nothing that runs. The same objects as ``kubectl apply --server-side -k deploy/api``, with
``deploy/kueue`` where Kueue is served, and ``deploy/volcano`` and ``deploy/default-priority-class``
if asked for. What an earlier installation left and this one does not have is removed. Repeating it
changes nothing, so requests are repeated as well (``patience``).
"""

import asyncio
import functools
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

from lws_kueue.api import probes
from lws_kueue.install import manifests, preflight
from lws_kueue.install.patience import Patience
from lws_kueue.runtime import client, kueue_support, resources

FIELD_MANAGER: Final = "lws-kueue-install"
PATIENCE: Final = 30.0

# The label of everything that is installed. An object without it is somebody else's.
_PART_OF: Final = ("app.kubernetes.io/part-of", "lws-kueue")

Change = Literal["created", "changed", "unchanged", "removed"]


@dataclass(frozen=True, slots=True)
class Installed:
    """What became of one object."""

    kind: str
    name: str
    change: Change


async def install(
    api: client.Client,
    *,
    gang_scheduling: manifests.GangScheduling | None = None,
    default_priority_class: bool = False,
    patience: Patience | None = None,
) -> list[Installed]:
    """Apply the CRD, the policies and the roles, and wait until the API server acts on them.

    ``default_priority_class`` gives sets without a priority the WorkloadPriorityClass `default`,
    where Kueue is served. ``patience`` is that with an API server that does not answer, None for
    the usual one.

    What is not wanted any more goes after that, so that no moment is without either: a feature that
    an earlier version refused is let through when the policies that serve it are there.

    Raises:
        preflight.Unfit: the API server is too old or serves no policies.
        client.ApiError: the identity may not install, or there is no way to the server.
        patience.NoPatienceLeft: the server was too slow, too busy or away for too long.
        TimeoutError: a policy does not act in time.
    """
    patiently = patience or Patience()
    await patiently(lambda: preflight.check_server(api))
    support, _ = await patiently(lambda: kueue_support.probe(api))
    choice: manifests.Choice = {
        "gang_scheduling": gang_scheduling,
        "kueue": support == "served",
        "default_priority_class": default_priority_class,
    }
    results = [await _apply(api, obj, patiently) for obj in manifests.api_objects(**choice)]
    if any(result.change != "unchanged" for result in results):
        await _active(api, patiently, gang_scheduling=gang_scheduling)
    for obj in manifests.retired(**choice):
        if await _remove(api, obj, patiently):
            results.append(Installed(kind=obj.kind, name=obj.name, change="removed"))
    return results


async def _apply(api: client.Client, obj: dict[str, Any], patiently: Patience) -> Installed:
    resource = resources.of(obj["apiVersion"], obj["kind"])
    name = obj["metadata"]["name"]
    # It is read once: an apply that was not answered may have happened all the same.
    before = await patiently(lambda: api.get(resource, name=name))
    after = await patiently(lambda: api.apply(obj, field_manager=FIELD_MANAGER))
    change: Change = "changed"
    if before is None:
        change = "created"
    elif _content(before) == _content(after):
        change = "unchanged"
    return Installed(kind=obj["kind"], name=name, change=change)


async def _remove(api: client.Client, obj: manifests.Retired, patiently: Patience) -> bool:
    """Delete an object that is ours; False if there is none."""
    resource = resources.of(obj.api_version, obj.kind)
    found = await patiently(lambda: api.get(resource, name=obj.name))
    key, value = _PART_OF
    if found is None or (found["metadata"].get("labels") or {}).get(key) != value:
        return False
    uid, before = found["metadata"]["uid"], patiently.waited
    try:
        await patiently(lambda: api.delete(resource, namespace="", name=obj.name, uid=uid))
    except client.ApiError as error:
        # Gone already, or recreated since: somebody else installs at the same time, or a deletion
        # that was not answered has happened.
        if error.status not in (404, 409):
            raise
        return error.status == 404 and patiently.waited > before
    return True


def _content(obj: dict[str, Any]) -> tuple[Any, ...]:
    """Return what an apply may change; the status is written by the API server's own parts."""
    meta = obj["metadata"]
    given = meta.get("generation"), meta.get("labels"), meta.get("annotations")
    # A role has no spec.
    return *given, obj.get("spec"), obj.get("rules")


async def _active(
    api: client.Client, patiently: Patience, *, gang_scheduling: manifests.GangScheduling | None
) -> None:
    """Wait until every policy does what it says: an API server needs a moment after a change.

    The probes are dry runs; nothing is stored. What the policies that need Kueue do depends
    on queues and classes that may not exist, so they are not waited for. What passes while nothing
    is answered says nothing about a policy, and is not counted.
    """
    deadline = time.monotonic() + PATIENCE - patiently.waited
    for probe in probes.probes(gang_scheduling=gang_scheduling):
        while not await patiently(functools.partial(_holds, api, probe)):
            if time.monotonic() > deadline + patiently.waited:
                raise TimeoutError(
                    f"The policy {probe.policy} was applied but did not act within "
                    f"{PATIENCE:.0f} s; look at `kubectl get events` and at its status"
                )
            await asyncio.sleep(0.1)


async def _holds(api: client.Client, probe: probes.Probe) -> bool:
    try:
        answer = await api.request("POST", probe.path, body=probe.body)
    except client.ApiError as error:
        if client.unreachable(error) and not client.refuses(error):
            raise
        return probe.holds(status=error.status, answer=error.answer)
    return probe.holds(status=200, answer=answer)
