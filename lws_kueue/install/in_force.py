"""Whether what was installed is in force: there, bound, and that of this version.

Somebody may delete or unbind a policy, have it only warn, or install those of another version,
while the controller runs. Then what it relies on is simply gone, and no request says so. The same
is so of the definition, whose rules refuse what the controller cannot serve. It is the content that
counts; the version that stands on an object only tells whose it is.
"""

import asyncio
import functools
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import lws_kueue
from lws_kueue.api import names, reasons
from lws_kueue.install import manifests
from lws_kueue.runtime import client, metrics, resources

DEFINITION: Final = f"{names.LWS_PLURAL}.{names.LWS_GROUP}"

KINDS: Final = {
    f"{kind}AdmissionPolicy{suffix}": f"{kind.lower()}admissionpolic{plural}"
    for kind in ("Mutating", "Validating")
    for suffix, plural in (("", "ies"), ("Binding", "ybindings"))
}
PLURALS: Final = tuple(KINDS.values())

# What an API server fills in, and what says as much as nothing does.
_DEFAULTS: Final = (("matchPolicy", "Equivalent"), ("scope", "*"))
_NOTHING: Final[tuple[Any, ...]] = (None, {}, [])

FIX: Final = "Run `lws-kueue install`, or apply deploy/api, of the version of the controller"

# So many objects of another version are named.
MOST_NAMED: Final = 3

Key = tuple[str, str]

logger = logging.getLogger(__name__)


async def faults(api: client.Client) -> tuple[str, ...]:
    """Return what is wrong with the policies and the definition in a cluster, for people.

    Raises:
        client.ApiError: they could not be read.
    """
    found: dict[Key, dict[str, Any]] = {}
    for kind, plural in KINDS.items():
        answer = await api.request("GET", f"/apis/admissionregistration.k8s.io/v1/{plural}")
        found |= {(kind, obj["metadata"]["name"]): obj for obj in answer.get("items") or ()}
    # Whoever may watch definitions may list them, and not read one.
    one = {"fieldSelector": f"metadata.name={DEFINITION}"}
    answer = await api.request("GET", resources.CRDS.path(), query=one)
    kind = resources.CRDS.kind
    found |= {(kind, obj["metadata"]["name"]): obj for obj in answer.get("items") or ()}
    # To read what is shipped takes long the first time.
    return await asyncio.to_thread(compare, found)


def compare(found: Mapping[Key, Mapping[str, Any]]) -> tuple[str, ...]:
    """Compare what is installed, by kind and name, with what this version ships.

    Which of the optional policies are wanted is not known here: one is judged if a part of it is
    there. What differs because it is another version's is one fault for each such version.
    """
    always, shipped = _shipped()
    there = {name for _, name in found}
    problems: list[str] = []
    others: dict[str, list[str]] = {}
    for (kind, name), content in shipped.items():
        live = found.get((kind, name))
        if live is None:
            if (kind, name) in always or name in there:
                problems.append(f"{kind} {name} is missing")
        elif _content(kind, live) != content:
            version = _version(live)
            if version == lws_kueue.__version__:
                problems.append(f"{kind} {name} is not that of this version")
            else:
                others.setdefault(version, []).append(f"{kind} {name}")
    return (*(_of_another(version, which) for version, which in sorted(others.items())), *problems)


def _version(live: Mapping[str, Any]) -> str:
    """Return the version that an object says it belongs to, "" if it says none."""
    return str((live["metadata"].get("annotations") or {}).get(names.VERSION, ""))


def _of_another(version: str, which: list[str]) -> str:
    return (
        f"Policies of version {version or 'unknown'}, controller of version"
        f" {lws_kueue.__version__} (they differ in {reasons.some(which, most=MOST_NAMED)})"
    )


@functools.cache
def _shipped() -> tuple[frozenset[Key], Mapping[Key, Any]]:
    """Return what is always installed, and the content of all that can be; it is slow to read."""
    always = frozenset(_keyed(manifests.api_objects()))
    every = _keyed(manifests.every_object())
    return always, {(kind, name): _content(kind, obj) for (kind, name), obj in every.items()}


def _keyed(objects: Iterable[Mapping[str, Any]]) -> dict[Key, Mapping[str, Any]]:
    judged = {*KINDS, resources.CRDS.kind}
    return {(o["kind"], o["metadata"]["name"]): o for o in objects if o["kind"] in judged}


def _content(kind: str, obj: Mapping[str, Any]) -> Any:
    """Return what counts of an object: its spec, and of a definition the versions it serves."""
    spec = obj.get("spec") or {}
    return _essence(spec.get("versions") if kind == resources.CRDS.kind else spec)


def _essence(value: Any) -> Any:
    """Return a spec without what an API server fills in."""
    if isinstance(value, Mapping):
        kept = {key: _essence(each) for key, each in value.items()}
        return {
            key: each
            for key, each in kept.items()
            if each not in _NOTHING and (key, each) not in _DEFAULTS
        }
    return [_essence(each) for each in value] if isinstance(value, list) else value


class Watch:
    """Looks at the policies from time to time, and tells when something has changed."""

    def __init__(self, api: client.Client) -> None:
        self._api = api
        self.faults: tuple[str, ...] = ()

    async def look(self) -> None:
        """Look once; metric and log say what was found, the log only what is news."""
        found = await faults(self._api)
        metrics.policy_faults.set(len(found))
        for fault in found:
            if fault not in self.faults:
                logger.warning(
                    "%s: pods may start without what they give or forbid. %s", fault, FIX
                )
        if self.faults and not found:
            logger.info("All admission policies are in force again")
        self.faults = found
