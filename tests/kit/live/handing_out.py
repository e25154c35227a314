"""In which order the files of whole-system tests are handed out to the clusters."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

# Its tests are about the API server alone: they come before those that start a controller there.
FIRST: Final = "admission"
# Fixtures of these scopes make something for a whole file or folder, mostly a cluster or a fleet.
_SHARED_BY_MANY: Final = frozenset({"class", "module", "package"})
# The shared cluster, and one of the test's own beside it.
_SHARED, _OWN = "cluster", "fresh_cluster"


def handed_out(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return tests in the order in which their files are begun (for `--dist loadfile`).

    First those that have to be; then files that say that they take minutes, the longest first;
    then files that share what is made for them, and files of tests that start a cluster; then all
    others, those of many tests before those of few. What is short fills up what is left, so that
    no worker is at work for long when all others have ended.
    """
    files: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        files[item.path].append(item)
    ordered = sorted(
        files.values(), key=lambda tests: (_turn(tests), -_minutes(tests), -len(tests))
    )
    return [item for tests in ordered for item in tests]


def _turn(tests: Sequence[pytest.Item]) -> int:
    if FIRST in tests[0].path.parts:
        return 0
    if _minutes(tests) or any(_scopes(item) & _SHARED_BY_MANY for item in tests):
        return 1
    return 2 if any(_starts_a_cluster(item) for item in tests) else 3


def _minutes(tests: Sequence[pytest.Item]) -> int:
    """Return the minutes that tests say they take: ``pytest.mark.long(minutes=5)``."""
    found = (mark.kwargs.get("minutes", 0) for one in tests for mark in one.iter_markers("long"))
    return sum(found)


def _starts_a_cluster(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return _OWN in names or _SHARED not in names


def _scopes(item: pytest.Item) -> set[str]:
    if not isinstance(item, pytest.Function):
        return set()
    return {found[-1].scope for found in item._fixtureinfo.name2fixturedefs.values()}
