"""What a pass over a live set has found out before it decides anything."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from lws_kueue.api import facts, lws
from lws_kueue.api.indices import Indices
from lws_kueue.controller.observe import groups, observed
from lws_kueue.controller.revision import revisions

NOWHERE: Final = Indices()


class ManagedBy(Enum):
    """Who lets the groups of a set go (``admission.managed_by`` says so of a set).

    ``KUEUE_GATED`` is Kueue's built-in integration, for pods that are still made from the bridge's
    template: it looks after those as well. ``UNKNOWN`` is one of the two, and nobody knows which:
    then pods are gated and nothing is let go.
    """

    NOBODY = "nobody"
    BRIDGE = "bridge"
    KUEUE = "Kueue"
    KUEUE_GATED = "Kueue, gated by the bridge"
    UNKNOWN = "nobody knows"

    @property
    def gates(self) -> bool:
        """Whether pods are made with the bridge's gate."""
        return self in (ManagedBy.BRIDGE, ManagedBy.KUEUE_GATED, ManagedBy.UNKNOWN)

    @property
    def stops(self) -> bool:
        """Whether it is the bridge that stops what runs without an admission."""
        return self in (ManagedBy.BRIDGE, ManagedBy.UNKNOWN)

    @property
    def built_in(self) -> bool:
        """Whether the set is left to Kueue's built-in integration."""
        return self in (ManagedBy.KUEUE, ManagedBy.KUEUE_GATED)


@dataclass(frozen=True, slots=True)
class Scope:
    """A live set, its groups, its own revisions, the one it is at, and who manages its groups.

    ``kept_revisions`` are those to go back to, which are not in use.
    ``asked`` is the set without what is only told of it, its status: the same object for as long as
    nobody asks for anything else. ``elsewhere`` are the groups that run in other clusters, or are
    to, and ``barred`` those of this cluster that may not be released, because another one may have
    something of them. ``dispatched`` says that other clusters concern the set: when a group has
    stopped is decided by all of them then. ``dispatches`` says that its queue asks for that.
    """

    seen: observed.Observed
    owner: lws.LeaderWorkerSet
    asked: lws.LeaderWorkerSet
    found: groups.Groups
    own_revisions: tuple[facts.Revision, ...]
    kept_revisions: tuple[facts.Revision, ...]
    choice: revisions.Choice
    managed_by: ManagedBy
    dispatched: bool = False
    dispatches: bool = False
    elsewhere: Indices = NOWHERE
    barred: Indices = NOWHERE
