"""Leader election as values: what a candidate saw of the Lease, and what it may do (pure).

The semantics are client-go's, so that the Go manager is a rival like any other (lws-contract 9.3):
another one's lease is over when it has not changed for its duration *since this candidate saw it
change*. Clocks of machines are never compared. A leader gives up earlier than others take over,
because its deadline is shorter than the duration, and is counted from before its request was sent.
"""

import datetime
import math
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Record:
    """One candidate's view of a Lease; the times are those of its own steady clock."""

    identity: str
    lease_duration: float
    renew_deadline: float

    spec: dict[str, Any] | None = None
    """What the Lease said when it was last seen; None: it does not exist, as far as is known."""
    resource_version: str = ""
    changed_at: float = -math.inf
    """When the Lease was seen to say this for the first time."""
    renewed_at: float = -math.inf
    """When the last request that renewed it for this candidate was about to be sent."""

    def see(self, lease: dict[str, Any] | None, *, now: float) -> None:
        """Take in the Lease as it was read."""
        spec = dict(lease.get("spec") or {}) if lease is not None else None
        self.resource_version = lease["metadata"]["resourceVersion"] if lease is not None else ""
        if spec != self.spec or self.changed_at == -math.inf:
            self.spec, self.changed_at = spec, now

    def written(self, lease: dict[str, Any], *, sent_at: float, now: float) -> None:
        """Take in the answer to a request that made this candidate the holder."""
        self.see(lease, now=now)
        self.renewed_at = sent_at

    @property
    def holder(self) -> str:
        """Who holds the Lease, "" for nobody."""
        return str((self.spec or {}).get("holderIdentity") or "")

    @property
    def mine(self) -> bool:
        """Whether the Lease names this candidate."""
        return self.holder == self.identity

    def free(self, *, now: float) -> bool:
        """Whether this candidate may write itself into the Lease."""
        if not self.holder or self.mine:
            return True
        duration = (self.spec or {}).get("leaseDurationSeconds") or self.lease_duration
        return now >= self.changed_at + duration

    def leads(self, *, now: float) -> bool:
        """Whether this candidate is the leader and can be certain of it."""
        return now < self.renewed_at + self.renew_deadline

    def give_up(self) -> None:
        """Stop leading at once."""
        self.renewed_at = -math.inf

    def claim(self, *, wall: datetime.datetime) -> dict[str, Any]:
        """Return the spec of the Lease that makes, or keeps, this candidate its holder."""
        old = self.spec or {}
        moment = _micro_time(wall)
        transitions = int(old.get("leaseTransitions") or 0)
        return {
            **old,
            "holderIdentity": self.identity,
            # Rounded up: others may only take over later, never earlier.
            "leaseDurationSeconds": math.ceil(self.lease_duration),
            "acquireTime": old.get("acquireTime") if self.mine else moment,
            "renewTime": moment,
            "leaseTransitions": transitions if self.mine or self.spec is None else transitions + 1,
        }

    def resignation(self, *, wall: datetime.datetime) -> dict[str, Any]:
        """Return the spec that lets a successor take over at once."""
        moment = _micro_time(wall)
        return {
            **(self.spec or {}),
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": moment,
            "renewTime": moment,
        }


def _micro_time(wall: datetime.datetime) -> str:
    return wall.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
