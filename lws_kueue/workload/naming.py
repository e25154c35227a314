"""Names of Workloads, those of Kueue's built-in integration (kueue-contract 1.7).

The name is computed, so that a create that is repeated finds what the first one made, and so that
either integration adopts the Workloads of the other.
"""

import hashlib
from typing import Final

from lws_kueue.api import facts, names

_HASH_LENGTH: Final = 5
_LONG: Final = 253
_SHORT: Final = 63


def workload_name(set_name: str, index: int, uid: str, *, short: bool = False) -> str:
    """Return the name of the Workload of one group.

    ``short`` limits names to 63 characters, for a Kueue that runs with short Workload names.
    """
    owner = f"{set_name}-{index}"
    limit = (_SHORT if short else _LONG) - _HASH_LENGTH - 1
    prefix = f"{names.LWS_KIND.lower()}-{owner}"[:limit]
    text = "\n".join((names.LWS_KIND, names.LWS_GROUP, owner, uid))
    # SHA-1 is what Kueue names with; nothing is protected by it.
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return f"{prefix}-{digest[:_HASH_LENGTH]}"


def is_copy(meta: facts.Meta) -> bool:
    """Whether MultiKueue has made the object here, of one that another cluster has."""
    return names.MULTIKUEUE_ORIGIN in meta.labels


def owner_uid(meta: facts.Meta) -> str:
    """Return the UID that names are computed from.

    A copy that MultiKueue made of a set is served by Workloads named after the original.
    """
    if is_copy(meta):
        return meta.annotations.get(names.MULTIKUEUE_ORIGIN_UID) or meta.uid
    return meta.uid


def of_group(meta: facts.Meta, index: int, *, short: bool = False) -> str:
    """Return the name of the Workload of a group of the set with that metadata."""
    return workload_name(meta.name, index, owner_uid(meta), short=short)
