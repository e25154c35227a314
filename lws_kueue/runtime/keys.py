"""Which sets an object concerns: by its label, or by its owner and its name where that is lost."""

from typing import NamedTuple

from lws_kueue.api import facts, names
from lws_kueue.controller.observe import ordinals
from lws_kueue.runtime import resources


class SetKey(NamedTuple):
    """Which LeaderWorkerSet."""

    namespace: str
    name: str


def set_of(resource: resources.Resource, meta: facts.Meta) -> SetKey | None:
    """Return the set that an object belongs to, or None."""
    if resource == resources.SETS:
        return SetKey(meta.namespace, meta.name)
    if resource in resources.BY_SET_NAME:
        name = meta.labels.get(names.SET_NAME, "")
        return SetKey(meta.namespace, name) if name else None
    if resource == resources.WORKLOADS:
        owner = next((o.name for o in meta.owners if o.kind == names.LWS_KIND), "")
        gvk = meta.annotations.get(names.JOB_OWNER_GVK)
        if not owner and gvk == names.JOB_OWNER_GVK_VALUE:
            owner = meta.annotations.get(names.JOB_OWNER_NAME, "")
        return SetKey(meta.namespace, owner) if owner else None
    return None


def sets_of(resource: resources.Resource, meta: facts.Meta) -> frozenset[SetKey]:
    """Return every set that an object concerns.

    That is the one that its label names. Where its owner or its own name say something else, the
    label was edited; then it concerns those as well, so that they see who is in the way.
    """
    labelled = set_of(resource, meta)
    found = frozenset({labelled} if labelled else ())
    if resource not in resources.BY_SET_NAME:
        return found
    origins = _origins(resource, meta)
    if labelled and labelled.name in origins:
        return found
    return found | {SetKey(meta.namespace, name) for name in origins}


def _origins(resource: resources.Resource, meta: facts.Meta) -> frozenset[str]:
    """Return the names that a set of this object could have, if it is what it looks like."""
    owner = meta.controller
    if owner is not None and owner.kind == names.LWS_KIND:
        return frozenset({owner.name})
    if resource == resources.REVISIONS or (owner and owner.kind not in ("StatefulSet", "Pod")):
        return frozenset()
    name = owner.name if owner else meta.name
    origins = set()
    while name:
        origins.add(name)
        name, _ = ordinals.parent_and_ordinal(name)
    return frozenset(origins)


def unlabelled(resource: resources.Resource, meta: facts.Meta) -> bool:
    """Whether no watch and no list tells of an object, because it lacks the label of a set."""
    return resource in resources.BY_SET_NAME and names.SET_NAME not in meta.labels


def needing(resource: resources.Resource, *, namespace: str, name: str) -> frozenset[SetKey]:
    """Return the sets that need an object of this name, if there are such sets."""
    if resource not in (resources.STATEFUL_SETS, resources.SERVICES):
        return frozenset()
    owners = (name, ordinals.parent_and_ordinal(name)[0])
    return frozenset(SetKey(namespace, one) for one in owners)
