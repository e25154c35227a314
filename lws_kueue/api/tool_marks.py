"""Labels and annotations by which tools know the objects that they manage, kept from children.

A StatefulSet inherits what stands on its set. A tool that deletes what carries its mark and has
left the manifests (``kubectl apply --prune``, inventories, application controllers) would take a
copy of the mark for such an object, and delete the StatefulSet with all pods of the set.

``app.kubernetes.io/instance`` and its like are inherited: people and dashboards select by them, and
Argo CD, for which it can be a mark, leaves objects that have an owner alone.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from lws_kueue.api import facts, names

# Each with its subdomains.
_DOMAINS: Final = frozenset(
    {
        "applyset.kubernetes.io",  # kubectl apply --prune --applyset
        "addonmanager.kubernetes.io",
        "argocd.argoproj.io",
        "fluxcd.io",  # kustomize.toolkit.fluxcd.io, helm.toolkit.fluxcd.io, and those of Flux 1
        "meta.helm.sh",  # what Helm takes for a release's own
        "config.k8s.io",  # kustomize, cli-utils, kpt: config.k8s.io/owning-inventory
        "config.kubernetes.io",
        "cli-utils.sigs.k8s.io",
        "configsync.gke.io",
        "configmanagement.gke.io",
        "kapp.k14s.io",
        "kluctl.io",
        "tanka.dev",
        "objectset.rio.cattle.io",  # Rancher, Fleet and k3s
        "fleet.cattle.io",
    }
)
# Other keys of these domains say something about the object itself.
_KEYS: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


# All objects of all sets have the same few keys.
@lru_cache(maxsize=1024)
def is_one(key: str) -> bool:
    """Whether a label or an annotation of this key marks the objects of a tool."""
    if key in _KEYS:
        return True
    domain, slash, _ = key.partition("/")
    parts = domain.split(".")
    return bool(slash) and any(".".join(parts[i:]) in _DOMAINS for i in range(len(parts)))


def without(values: Mapping[str, str]) -> dict[str, str]:
    """Return labels or annotations without the marks of tools."""
    return {key: value for key, value in values.items() if not is_one(key)}


def copied(live: facts.StatefulSet) -> dict[str, Any]:
    """Return the metadata of a patch that takes copied marks off a StatefulSet; {} for none.

    Earlier versions and LWS copied them. Only what our field manager has written is taken away: a
    mark that somebody else puts on the object is meant, and nobody contends about it.
    """
    metadata: dict[str, Any] = {}
    for field, values in (("labels", live.meta.labels), ("annotations", live.meta.annotations)):
        marks = [key for key in sorted(values) if is_one(key)]
        own = _written(live.managed_fields, field) if marks else frozenset()
        if found := [key for key in marks if key in own]:
            metadata[field] = dict.fromkeys(found)
    return metadata


def _written(managed_fields: Sequence[facts.Object], field: str) -> frozenset[str]:
    """Return the keys of labels or annotations that our field manager has written."""
    entries = (
        entry.get("fieldsV1") or {}
        for entry in managed_fields
        if entry.get("manager") == names.FIELD_MANAGER and not entry.get("subresource")
    )
    found = ((entry.get("f:metadata") or {}).get(f"f:{field}") or {} for entry in entries)
    return frozenset(key.removeprefix("f:") for keys in found for key in keys)
