"""Sets of group indices, kept as runs: a set may have millions of groups that do not exist yet."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Set
from itertools import groupby
from typing import Any, Final

# Which parts of two sets make their intersection, union and difference (``Indices._with``).
_BOTH: Final = frozenset({3})
_EITHER: Final = frozenset({1, 2, 3})
_ONLY_MINE: Final = frozenset({1})


class Indices(Set[int]):
    """A set of numbers from 0 on; what it costs depends on its runs, not on how many it holds."""

    __slots__ = ("_runs", "_starts")

    def __init__(self, members: Iterable[int] = ()) -> None:
        """``members`` are in any order; a ``range`` with step 1 stays one run."""
        if isinstance(members, Indices):
            runs = list(members.runs)
        elif isinstance(members, range):
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
        return self._with(other, _BOTH)

    def __or__(self, other: Iterable[Any]) -> "Indices":
        return self._with(other, _EITHER)

    def __sub__(self, other: Iterable[Any]) -> "Indices":
        return self._with(other, _ONLY_MINE)

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

    def _with(self, other: Iterable[int], kept: frozenset[int]) -> "Indices":
        """Return what is in one of the ``kept`` parts: 1 is mine alone, 2 the other's, 3 both."""
        others = other if isinstance(other, Indices) else Indices(other)
        # An even number is an edge of mine, an odd one of the other's.
        edges = sorted([2 * edge for edge in self._edges] + [2 * e + 1 for e in others._edges])
        part, within = 0, False
        found: list[int] = []
        for edge in edges:
            part ^= 1 + edge % 2
            if (part in kept) is within:
                continue
            within = not within
            # What ends where it begins, or goes on where it ends, has no edge there.
            if found and found[-1] == edge // 2:
                found.pop()
            else:
                found.append(edge // 2)
        return Indices._of(list(map(range, found[::2], found[1::2])))

    @property
    def _edges(self) -> list[int]:
        return [edge for run in self._runs for edge in (run.start, run.stop)]


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
