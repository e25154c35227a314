"""Which of the watched kinds are served, and when that changes: an API is installed, or goes."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from lws_kueue.runtime import client, resources


def may_go(kind: resources.Resource) -> bool:
    """Whether a kind may come and go: its group is a domain, as that of a definition has to be."""
    return "." in kind.group


def name(kind: resources.Resource) -> str:
    """Return the name of the definition of a kind."""
    return f"{kind.plural}.{kind.group}"


async def served(api: client.Client, kinds: Iterable[resources.Resource]) -> frozenset[str]:
    """Return the names of the definitions of those kinds that the API server serves now."""
    found = set()
    for version in {kind.api_version for kind in kinds if kind.group}:
        try:
            listed = await api.request("GET", f"/apis/{version}")
        except client.ApiError as error:
            if error.status != 404:
                raise
            continue
        group = version.partition("/")[0]
        found |= {f"{one['name']}.{group}" for one in listed.get("resources") or ()}
    return frozenset(found)


class Definitions:
    """The definitions of kinds: whoever watches them looks anew when one comes or goes."""

    def __init__(self, kinds: Iterable[resources.Resource], *, before: frozenset[str]) -> None:
        """``before`` is what was `served` before watching began."""
        self._kinds = {name(kind): kind for kind in kinds}
        self._before = before
        self.changed = asyncio.Event()
        """Set when a kind is served that was not, or the other way round."""

    def tell(self, event: str | None, definition: Mapping[str, Any]) -> None:
        """Take an event of a watch on CustomResourceDefinitions."""
        which = definition["metadata"]["name"]
        kind = self._kinds.get(which)
        if kind is None:
            return
        serves = event != "DELETED" and _serves(definition, version=kind.version)
        if serves != (which in self._before):
            self.changed.set()


def _serves(definition: Mapping[str, Any], *, version: str) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    established = any(
        one["type"] == "Established" and one["status"] == "True" for one in conditions
    )
    versions = (definition.get("spec") or {}).get("versions") or ()
    return established and any(
        one["name"] == version and one.get("served", False) for one in versions
    )
