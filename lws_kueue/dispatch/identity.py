"""Whose an object in a worker is, and what it is called there.

Names are computed from what never changes: the manager's cluster, the set's UID and the index. So
whatever was made twice is one object, and nothing has to be remembered. A set's part of a name is
cut, so that every label and StatefulSet name that is made of it fits.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from lws_kueue.api import facts, names, numbers
from lws_kueue.workload import naming

_MOST_OF_SET_NAME: Final = 20
_HASH_LENGTH: Final = 10
_MOST_OF_LABEL: Final = 63
_UID_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Manager:
    """The cluster that sets are in: the UID of its namespace kube-system, and its origin value."""

    uid: str
    origin: str


@dataclass(frozen=True, slots=True)
class GroupId:
    """A group of one set, and of no other one that has its name before or after it."""

    namespace: str
    set_name: str
    set_uid: str
    index: int


def default_origin(uid: str) -> str:
    """Return the origin value of a manager that nobody has set another one for."""
    return f"lws-kueue-{uid[:_UID_LENGTH]}"


def set_name(manager: Manager, group: GroupId) -> str:
    """Return the name of the set of one replica that runs a group in a worker."""
    parts = ("lws-kueue/group", manager.uid, group.namespace, group.set_name, group.set_uid)
    digest = hashlib.sha256("\n".join((*parts, str(group.index))).encode()).hexdigest()
    prefix = group.set_name[:_MOST_OF_SET_NAME].rstrip("-")
    return f"{prefix}-{group.index}-{digest[:_HASH_LENGTH]}"


def workload_name(manager: Manager, group: GroupId) -> str:
    """Return the name that Kueue and the bridge in a worker look for the group's Workload by."""
    return naming.workload_name(set_name(manager, group), 0, group.set_uid)


def anchor_name(manager: Manager) -> str:
    """Return the name of the Lease that owns our Workloads in a namespace of a worker."""
    return f"lws-kueue-{manager.origin}"[:_MOST_OF_LABEL].rstrip("-.")


def labels(manager: Manager, group: GroupId) -> dict[str, str]:
    """Return the labels by which an object in a worker is found and counted."""
    return {
        names.MULTIKUEUE_ORIGIN: manager.origin,
        names.ORIGIN_SET: group.set_name,
        names.ORIGIN_GROUP_INDEX: str(group.index),
    }


def annotations(manager: Manager, group: GroupId) -> dict[str, str]:
    """Return the annotations that say whose an object in a worker is."""
    return {names.MULTIKUEUE_ORIGIN_UID: group.set_uid, names.MANAGER: manager.uid}


def is_ours(meta: facts.Meta, manager: Manager) -> bool:
    """Whether this manager has made an object in a worker: both marks have to say so (INV-6)."""
    return (
        meta.labels.get(names.MULTIKUEUE_ORIGIN) == manager.origin
        and meta.annotations.get(names.MANAGER) == manager.uid
    )


def group_of(meta: facts.Meta) -> GroupId | None:
    """Return the group that an object of ours was made for, None where it does not say."""
    index = numbers.natural(meta.labels.get(names.ORIGIN_GROUP_INDEX, ""))
    name = meta.labels.get(names.ORIGIN_SET, "")
    uid = meta.annotations.get(names.MULTIKUEUE_ORIGIN_UID, "")
    if index is None or not name or not uid:
        return None
    return GroupId(meta.namespace, name, uid, index)
