"""What a pass over a live set has found out before it decides anything."""

from dataclasses import dataclass

from lws_kueue.api import facts, lws
from lws_kueue.controller import groups, observed, revisions


@dataclass(frozen=True, slots=True)
class Situation:
    """A live set, its groups, its own revisions, and the one it is at."""

    seen: observed.Observed
    owner: lws.LeaderWorkerSet
    found: groups.Observation
    own_revisions: tuple[facts.Revision, ...]
    choice: revisions.Choice
    queue_gated: bool
