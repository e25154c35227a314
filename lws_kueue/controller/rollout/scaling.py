"""Numbers of groups that are given as a number or as a percentage (lws-contract, glossary)."""

import re
from dataclasses import dataclass, replace

from lws_kueue.api import lws

# Leading zeros change nothing, and more digits than a number of groups has are no percentage.
_PERCENT = re.compile(r"0*([0-9]{1,10})%")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a rollout has to keep to, in groups: R, U, S and P of lws-contract 4.

    ``most`` is how many there may be with the surge, if that is less than R + S.
    """

    replicas: int
    unavailable: int = 1
    surge: int = 0
    floor: int = 0
    most: int | None = None

    @property
    def burst(self) -> int:
        """The most groups there may be."""
        wanted = self.replicas + self.surge
        return wanted if self.most is None else min(wanted, self.most)

    def within(self, most: int) -> "Bounds":
        """Return the bounds where there may be no more than ``most`` groups."""
        if self.burst <= most:
            return self
        return replace(self, replicas=min(self.replicas, most), most=most)


def scaled(value: lws.IntOrPercent, total: int, *, up: bool) -> int:
    """Return a number of groups; a percentage is one of ``total``, rounded up or down.

    Text that is no percentage, which the API refuses, counts as 0, and so does a negative number.
    """
    if isinstance(value, int):
        return max(0, value)
    match = _PERCENT.fullmatch(value)
    if match is None:
        return 0
    product = int(match[1]) * total
    return -(-product // 100) if up else product // 100


def bounds(owner: lws.LeaderWorkerSet) -> Bounds:
    """Return the bounds of a set's rollout; the surge is capped at the number of replicas.

    A percentage may come to no group at all after ``/scale`` changed the replicas, which no
    admission rule sees. With neither surge nor unavailability an update could never go on, so one
    group may be unavailable then (lws-contract 4.3, odd results).
    """
    configuration = owner.spec.rollout_strategy.rolling_update_configuration
    replicas = max(0, owner.spec.replicas)
    surge = min(replicas, scaled(configuration.max_surge, replicas, up=True))
    unavailable = scaled(configuration.max_unavailable, replicas, up=False)
    return Bounds(
        replicas=replicas,
        unavailable=unavailable if surge or unavailable else 1,
        surge=surge,
        floor=max(0, configuration.partition),
    )
