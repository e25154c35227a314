"""What became of pods and Workloads and when: watch events in, moments out.

Nothing is looked for again: whoever waits asks for counts that each event keeps up to date, so that
the measure costs the same for a thousand pods as for ten, one event at a time.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab.bench import cases

Object = dict[str, Any]

_WORKLOADS_OF_THE_SET: Final = f"{names.LWS_KIND.lower()}-{cases.SET}-"


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """What a pod is like: of which group, of which round, gated, and Ready."""

    group: str
    round: str
    gated: bool
    ready: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a group, or to a pod of it, in seconds of a clock."""

    at: float
    group: str


class Timeline:
    """Everything that was seen of one namespace.

    - `ready`: pods that became Ready for the first time.
    - `released`: pods that were seen without a gate for the first time.
    - `admitted`: Workloads that became Admitted.
    - `latest`: when the last event came.
    """

    def __init__(self) -> None:
        self.ready: list[Moment] = []
        self.released: list[Moment] = []
        self.admitted: list[Moment] = []
        self.latest = 0.0
        self._pods: dict[str, Pod] = {}
        self._ready_by_round: Counter[str] = Counter()
        self._others: dict[str, bool] = {}

    @property
    def pods(self) -> int:
        """How many pods there are."""
        return len(self._pods)

    @property
    def others(self) -> int:
        """How many sets and Workloads there are."""
        return len(self._others)

    def ready_of(self, number: int) -> int:
        """How many pods of a round are Ready."""
        return self._ready_by_round[str(number)]

    def take(self, event: Object, *, at: float) -> None:
        """Learn of one watch event."""
        self.latest = at
        obj, gone = event["object"], event["type"] == "DELETED"
        if obj["kind"] == "Pod":
            self._take_pod(obj["metadata"]["uid"], None if gone else _pod(obj), at)
        else:
            self._take_other(obj, gone=gone, at=at)

    def _take_pod(self, uid: str, pod: Pod | None, at: float) -> None:
        before = self._pods.pop(uid, None)
        if before is not None and before.ready:
            self._ready_by_round[before.round] -= 1
        if pod is None:
            return
        self._pods[uid] = pod
        if pod.ready:
            self._ready_by_round[pod.round] += 1
        if pod.ready and not (before and before.ready):
            self.ready.append(Moment(at, pod.group))
        if not pod.gated and (before is None or before.gated):
            self.released.append(Moment(at, pod.group))

    def _take_other(self, obj: Object, *, gone: bool, at: float) -> None:
        uid = obj["metadata"]["uid"]
        before = self._others.pop(uid, False)
        if gone:
            return
        admitted = obj["kind"] == "Workload" and _holds(obj, "Admitted")
        self._others[uid] = admitted
        if admitted and not before:
            self.admitted.append(Moment(at, _group_of_workload(obj["metadata"]["name"])))


def _pod(obj: Object) -> Pod:
    meta = obj["metadata"]
    return Pod(
        group=(meta.get("labels") or {}).get(names.GROUP_INDEX, ""),
        round=(meta.get("annotations") or {}).get(cases.ROUND, ""),
        gated=bool(obj["spec"].get("schedulingGates")),
        ready=_holds(obj, "Ready") and "deletionTimestamp" not in meta,
    )


def _holds(obj: Object, kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _group_of_workload(name: str) -> str:
    """Return the index in the name, which both integrations give (kueue-contract 1.7)."""
    return name.removeprefix(_WORKLOADS_OF_THE_SET).rpartition("-")[0]


def since(moments: Iterable[Moment], begin: float) -> list[Moment]:
    """Return the moments from ``begin`` on."""
    return [moment for moment in moments if moment.at >= begin]


def release_delays(admitted: Iterable[Moment], released: Iterable[Moment]) -> list[float]:
    """Return, for each group, the seconds from its Admitted to the release of its last pod.

    A group counts that was both admitted and released; of several admissions the last one counts
    that came before its last release. Two watches may tell of two things in either order, so that
    nothing is less than zero.
    """
    last = _last_by_group(released)
    begun: dict[str, float] = {}
    for moment in admitted:
        if moment.group in last and (moment.group not in begun or moment.at <= last[moment.group]):
            begun[moment.group] = moment.at
    return [max(0.0, last[group] - at) for group, at in begun.items()]


def _last_by_group(moments: Iterable[Moment]) -> Mapping[str, float]:
    return {moment.group: moment.at for moment in sorted(moments, key=lambda one: one.at)}
