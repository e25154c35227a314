"""The compressed topology assignment of a Workload, as it is read (kueue-contract 2.3).

An assignment is an ordered list of domains, each with the number of pods it takes; the order is
what ties ranks to domains. The API stores it in slices of domains whose values share a prefix, a
suffix or everything. Kueue may choose any of the forms, so all of them are known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lws_kueue.api import kueue

HOSTNAME: Final = "kubernetes.io/hostname"


class AssignmentError(ValueError):
    """An assignment that contradicts itself, such as fewer values than domains."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One topology domain: the node labels that select it, and how many pods it takes."""

    values: Mapping[str, str]
    count: int

    @property
    def node(self) -> str:
        """The node's host name, "" when the topology does not go down to nodes."""
        return self.values.get(HOSTNAME, "")


def decode(assignment: kueue.TopologyAssignment) -> tuple[Domain, ...]:
    """Return the domains in the order of the assignment.

    Raises:
        AssignmentError: the parts of a slice do not have the lengths that it announces.
    """
    domains: list[Domain] = []
    for part in assignment.slices:
        if len(part.values_per_level) != len(assignment.levels):
            raise AssignmentError(
                f"{len(part.values_per_level)} level values for {len(assignment.levels)} levels"
            )
        columns = [_values(level, part.domain_count) for level in part.values_per_level]
        counts = _counts(part.pod_counts, part.domain_count)
        domains.extend(
            Domain(
                {key: column[i] for key, column in zip(assignment.levels, columns, strict=True)}, n
            )
            for i, n in enumerate(counts)
        )
    return tuple(domains)


def _values(level: kueue.LevelValues, domains: int) -> Sequence[str]:
    if level.universal is not None:
        return [level.universal] * domains
    if level.individual is None:
        raise AssignmentError("a level has neither a universal value nor individual values")
    individual = level.individual
    if len(individual.roots) != domains:
        raise AssignmentError(f"{len(individual.roots)} roots for {domains} domains")
    return [individual.prefix + root + individual.suffix for root in individual.roots]


def _counts(counts: kueue.PodCounts, domains: int) -> Sequence[int]:
    if counts.universal is not None:
        return [counts.universal] * domains
    if len(counts.individual) != domains:
        raise AssignmentError(f"{len(counts.individual)} pod counts for {domains} domains")
    return counts.individual
