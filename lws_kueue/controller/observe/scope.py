"""What a pass over a live set has found out before it decides anything."""

from dataclasses import dataclass

from lws_kueue.api import facts, lws
from lws_kueue.controller.observe import groups, observed
from lws_kueue.controller.revision import revisions


@dataclass(frozen=True, slots=True)
class Scope:
    """A live set, its groups, its own revisions, and the one it is at.

    ``queue_gated`` says that its pods are made gated for Kueue's admission; ``stands_down`` that
    Kueue's built-in integration, not the bridge, does all that follows from that.
    """

    seen: observed.Observed
    owner: lws.LeaderWorkerSet
    found: groups.Groups
    own_revisions: tuple[facts.Revision, ...]
    choice: revisions.Choice
    queue_gated: bool
    stands_down: bool = False
