"""Sets of group indices, kept as runs: a set may have millions of groups that do not exist yet."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Set
from itertools import groupby, pairwise
from typing import Any


class Indices(Set[int]):
    """A set of numbers from 0 on; what it costs depends on its runs, not on how many it holds."""

    __slots__ = ("_runs", "_starts")

    def __init__(self, members: Iterable[int] = ()) -> None:
        """``members`` are in any order; a ``range`` with step 1 stays one run."""
        if isinstance(members, range):
            runs = [members] if members else []
        else:
            runs = _runs(sorted(set(members)))
        self._set(runs)

    def _set(self, runs: list[range]) -> None:
        self._runs = tuple(runs)
        self._starts = [run.start for run in runs]

    @classmethod
    def _of(cls, runs: list[range]) -> "Indices":
        made = cls()
        made._set(runs)
        return made

    @property
    def runs(self) -> tuple[range, ...]:
        """Its consecutive members, in order."""
        return self._runs

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int):
            return False
        at = bisect_right(self._starts, index) - 1
        return at >= 0 and index in self._runs[at]

    def __iter__(self) -> Iterator[int]:
        return (index for run in self._runs for index in run)

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Indices):
            return self._runs == other._runs
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self._runs)

    def __repr__(self) -> str:
        return f"Indices({list(self._runs)})"

    def __and__(self, other: Iterable[Any]) -> "Indices":
        return self._with(other, lambda mine, others: mine and others)

    def __or__(self, other: Iterable[Any]) -> "Indices":
        return self._with(other, lambda mine, others: mine or others)

    def __sub__(self, other: Iterable[Any]) -> "Indices":
        return self._with(other, lambda mine, others: mine and not others)

    __rand__ = __and__
    __ror__ = __or__

    def below(self, end: int) -> "Indices":
        """Return those that are less than ``end``."""
        return self & range(end)

    def last(self) -> int | None:
        """Return the greatest, None if there is none."""
        return self._runs[-1][-1] if self._runs else None

    def past(self, count: int) -> int | None:
        """Return the number behind the first ``count``, None if there are fewer."""
        for run in self._runs:
            if count <= len(run):
                return run.start + count
            count -= len(run)
        return None

    def without(self, removed: "Indices") -> "Indices":
        """Return the set when ``removed`` are taken out and those above close up."""
        runs = []
        gone = 0
        left = list(reversed(removed.runs))
        for run in (self - removed).runs:
            while left and left[-1].start < run.start:
                gone += len(left.pop())
            runs.append(range(run.start - gone, run.stop - gone))
        return Indices._of(_joined(runs))

    def _with(self, other: Iterable[int], keep: Callable[[bool, bool], bool]) -> "Indices":
        others = other if isinstance(other, Indices) else Indices(other)
        edges = sorted(
            {edge for each in (self, others) for run in each.runs for edge in (run.start, run.stop)}
        )
        runs = [
            range(start, stop)
            for start, stop in pairwise(edges)
            if keep(start in self, start in others)
        ]
        return Indices._of(_joined(runs))


def _runs(members: list[int]) -> list[range]:
    """Return the runs of numbers that are in order; most often it is one."""
    if not members:
        return []
    whole = range(members[0], members[-1] + 1)
    if len(whole) == len(members):
        return [whole]
    # What is consecutive is at the same distance from its place.
    found = (list(run) for _, run in groupby(enumerate(members), lambda one: one[1] - one[0]))
    return [range(run[0][1], run[-1][1] + 1) for run in found]


def _joined(runs: Iterable[range]) -> list[range]:
    """Put runs together of which one begins where the one before ends."""
    joined: list[range] = []
    for run in runs:
        if joined and joined[-1].stop == run.start:
            joined[-1] = range(joined[-1].start, run.stop)
        else:
            joined.append(run)
    return joined
