"""The compressed topology assignment of a Workload, both ways (kueue-contract 2.3).

An assignment is an ordered list of domains, each with the number of pods it takes; the order is
what ties ranks to domains. The API stores it in slices of domains whose values share a prefix, a
suffix or everything. Kueue may choose any of the forms, so the decoder knows all of them; the
encoder writes one slice in its shortest form.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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


def encode(levels: Sequence[str], domains: Sequence[Domain]) -> dict[str, Any]:
    """Return the assignment in JSON form, with everything that domains share written once."""
    if not domains:
        return {"levels": list(levels), "slices": []}
    counts = [domain.count for domain in domains]
    part = {
        "domainCount": len(domains),
        "valuesPerLevel": [_compress([d.values[level] for d in domains]) for level in levels],
        "podCounts": {"universal": counts[0]} if len(set(counts)) == 1 else {"individual": counts},
    }
    return {"levels": list(levels), "slices": [part]}


def _compress(values: Sequence[str]) -> dict[str, Any]:
    if len(set(values)) == 1:
        return {"universal": values[0]}
    prefix = _shared_start(values)
    # The prefix and the suffix of one value must not overlap ("aba" in "ababa").
    rest = [value[len(prefix) :] for value in values]
    suffix = _shared_start([value[::-1] for value in rest])[::-1]
    individual: dict[str, Any] = {
        "roots": [value[: len(value) - len(suffix)] for value in rest],
    }
    if prefix:
        individual["prefix"] = prefix
    if suffix:
        individual["suffix"] = suffix
    return {"individual": individual}


def _shared_start(values: Sequence[str]) -> str:
    # What the first and the last in order share, all of them share.
    low, high = min(values), max(values)
    differs = (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b)
    return low[: next(differs, len(low))]
