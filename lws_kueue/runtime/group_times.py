"""How long groups take from one step to the next, as metrics: admitted, released, ready.

It listens to what happens anyway, the news of a Workload and the end of a release, and asks nobody.
Only what was seen to happen is measured: of a group that was admitted while nobody looked, before a
start of the controller for example, nothing is told.
"""

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from lws_kueue.api import kueue
from lws_kueue.runtime import metrics
from lws_kueue.workload import conditions, state

# Of so many groups it is known at a time when a step was; the oldest are forgotten.
MOST_GROUPS: Final = 10_000

_T = TypeVar("_T")


@dataclass(slots=True)
class _Group:
    """When a group was admitted, and released, by the steady clock; None: not yet."""

    admitted: float
    released: float | None = None


def _wall() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class GroupTimes:
    """Knows when the groups that are under way were admitted and released."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime.datetime] = _wall,
    ) -> None:
        """``clock`` is steady, ``wall`` the one that objects have their times from."""
        self._clock = clock
        self._wall = wall
        # By UID of the Workload, in the order in which they were admitted, or lost that.
        self._groups: dict[str, _Group] = {}
        self._waiting: dict[str, datetime.datetime] = {}

    def changed(self, before: kueue.Workload, now: kueue.Workload) -> None:
        """Take that a Workload is another one than it was."""
        was = state.admission(before) is state.Admission.ADMITTED
        if state.admission(now) is not state.Admission.ADMITTED:
            if was:
                self._groups.pop(now.meta.uid, None)
                _keep(self._waiting, now.meta.uid, self._wall())
        elif not was:
            self._admitted(now)
        elif now.is_true(state.PODS_READY) and not before.is_true(state.PODS_READY):
            self._ready(now)

    def released(self, workload: kueue.Workload) -> None:
        """Take that pods of a group were released; the first time under an admission counts."""
        group = self._groups.get(workload.meta.uid)
        if group is not None and group.released is None:
            group.released = self._clock()
            metrics.group_released(*_queue(workload), group.released - group.admitted)

    def _admitted(self, workload: kueue.Workload) -> None:
        began = self._waiting.pop(workload.meta.uid, None)
        if began is None and workload.condition(state.EVICTED) is None:
            began = conditions.moment(workload.meta.created)
        if began is not None:
            waited = max(0.0, (self._wall() - began).total_seconds())
            metrics.group_admitted(*_queue(workload), waited)
        _keep(self._groups, workload.meta.uid, _Group(self._clock()))

    def _ready(self, workload: kueue.Workload) -> None:
        group = self._groups.pop(workload.meta.uid, None)
        if group is not None and group.released is not None:
            metrics.group_ready(*_queue(workload), self._clock() - group.released)


def _keep(known: dict[str, _T], uid: str, value: _T) -> None:
    """Remember something of a group, and forget the oldest where there is too much."""
    while len(known) >= MOST_GROUPS:
        del known[next(iter(known))]
    known[uid] = value


def _queue(workload: kueue.Workload) -> tuple[str, str]:
    return workload.meta.namespace, workload.spec.queue_name
