"""Whether groups that were dispatched to real clusters ever ran where they may not: INV-1 to INV-9.

It judges recordings of what each worker's API server told, by resourceVersions, and knows nothing
of the controller. Where no group moves, one that was seen in two clusters ran twice (`broken`).
Where groups move, clusters have no clock in common but that of the machine they run on (`moved`):
what was there is known to have been there from when a watch told of it until its removal was asked
for, so what is said to have been at the same time was.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Object = dict[str, Any]
Group = tuple[str, str]
"""The set's name in the manager, and the index."""

_SET: Final = "lws-kueue.dev/origin-set"
_INDEX: Final = "lws-kueue.dev/group-index"
_MANAGER: Final = "lws-kueue.dev/manager"
_RUNS_IT: Final = "leaderworkerset.sigs.k8s.io/name"
_OF_GROUP: Final = "kueue.x-k8s.io/component-workload-index"
_OWNER: Final = "kueue.x-k8s.io/job-owner-name"


def broken(
    recordings: Mapping[str, Iterable[Object]], *, quota: Mapping[str, int], moves: bool = False
) -> list[str]:
    """Return what is wrong with what was recorded of workers, by cluster, in the order of time.

    ``quota`` is how many pods may run in each of them at a time. ``moves`` says that groups may run
    in one cluster after the other.
    """
    wrong: list[str] = []
    ran: dict[Group, set[str]] = defaultdict(set)
    for cluster, events in recordings.items():
        wrong += _in_cluster(cluster, _in_order(events), quota[cluster], ran)
    twice = {group: sorted(where) for group, where in ran.items() if len(where) > 1 and not moves}
    return [*wrong, *(f"INV-1: {group} ran in {where}" for group, where in twice.items())]


def _in_order(events: Iterable[Object]) -> list[Object]:
    return sorted(events, key=lambda event: int(event["object"]["metadata"]["resourceVersion"]))


def _in_cluster(
    cluster: str, events: list[Object], quota: int, ran: dict[Group, set[str]]
) -> list[str]:
    wrong: list[str] = []
    there: dict[tuple[str, str], Object] = {}
    for event in events:
        one = event["object"]
        kind, meta = one["kind"], one["metadata"]
        at = (kind, meta["name"])
        before = there.get(at)
        if event["type"] == "DELETED":
            there.pop(at, None)
            wrong += _left(cluster, kind, one, there)
        else:
            there[at] = one
        if kind != "Pod" or event["type"] == "DELETED" or not _runs(one):
            continue
        ran[_group(one)].add(cluster)
        if before is None or not _runs(before):
            wrong += _released(cluster, one, there)
        running = sum(_runs(pod) for (of, _), pod in there.items() if of == "Pod")
        if running > quota:
            wrong.append(f"INV-9: {running} pods can run in {cluster}, which has quota for {quota}")
    return wrong


def _released(cluster: str, pod: Object, there: Mapping[tuple[str, str], Object]) -> list[str]:
    """A pod was let go: its set and an admitted Workload have to be there (INV-2)."""
    name, own = pod["metadata"]["name"], pod["metadata"]["labels"][_RUNS_IT]
    wrong = []
    if ("LeaderWorkerSet", own) not in there:
        wrong.append(f"INV-2: {name} runs in {cluster} without its set")
    behind = (one for (kind, _), one in there.items() if kind == "Workload")
    if not any(_owner(one) == own and _admitted(one) for one in behind):
        wrong.append(f"INV-2: {name} runs in {cluster} without an admission")
    return wrong


def _left(
    cluster: str, kind: str, gone: Object, there: Mapping[tuple[str, str], Object]
) -> list[str]:
    """A Workload went: no pod may be left on its quota (INV-4)."""
    if kind != "Workload":
        return []
    own = _owner(gone)
    pods = (pod for (of, _), pod in there.items() if of == "Pod")
    left = [pod for pod in pods if pod["metadata"]["labels"][_RUNS_IT] == own and _runs(pod)]
    name = gone["metadata"]["name"]
    return [f"INV-4: {name} went in {cluster} while {len(left)} pods could run"] if left else []


def strangers(recording: Iterable[Object]) -> list[str]:
    """Return the objects that the manager made and that lack its mark (INV-6)."""
    return [
        f"{one['kind']} {one['metadata']['name']}"
        for event in recording
        for one in [event["object"]]
        if one["kind"] in ("Workload", "LeaderWorkerSet")
        and not (one["metadata"].get("annotations") or {}).get(_MANAGER)
    ]


def _group(pod: Object) -> Group:
    labels = pod["metadata"]["labels"]
    return labels[_SET], labels[_INDEX]


def _owner(workload: Object) -> str:
    return str((workload["metadata"].get("annotations") or {}).get(_OWNER) or "")


def _admitted(workload: Object) -> bool:
    told = (workload.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Admitted" and one["status"] == "True" for one in told)


def _runs(pod: Object) -> bool:
    """Whether a pod runs, or can come to run without anybody letting it go."""
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not (pod["spec"].get("schedulingGates") or ended)


# Groups that move ------------------------------------------------------------------------------

# The plurals of what is removed, as an audit log has them.
_PLURALS: Final = {"Pod": "pods", "Workload": "workloads", "LeaderWorkerSet": "leaderworkersets"}

# When the removal of an object was asked for, of those that were granted: plural, namespace, name.
Removals = Mapping[tuple[str, str, str], Sequence[datetime.datetime]]
_ALWAYS: Final = datetime.datetime.max.replace(tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """A watch event, and when it came."""

    at: datetime.datetime
    event: Object


@dataclass(frozen=True, slots=True)
class Span:
    """For how long an object was there without any doubt, of a group in a cluster.

    ``group`` is the set's namespace and name in the manager, and the index. Of a pod only the time
    counts in which it could run.
    """

    kind: str
    name: str
    group: tuple[str, str, str]
    cluster: str
    begin: datetime.datetime
    end: datetime.datetime

    def meets(self, other: "Span") -> bool:
        """Whether both were there at the same time."""
        return self.begin < other.end and other.begin < self.end


def spans(cluster: str, seen: Iterable[Seen], removals: Removals) -> Iterator[Span]:
    """Yield what was there of groups in a worker; what is not gone by the end of it stays open."""
    begun: dict[str, tuple[datetime.datetime, Object]] = {}
    for one in seen:
        obj, uid = one.event["object"], one.event["object"]["metadata"]["uid"]
        if one.event["type"] == "DELETED":
            if uid in begun:
                begin, _ = begun.pop(uid)
                yield _span(cluster, obj, begin, _removed(obj, begin, one.at, removals))
        elif uid not in begun and (obj["kind"] != "Pod" or _runs(obj)):
            begun[uid] = (one.at, obj)
    for begin, obj in begun.values():
        yield _span(cluster, obj, begin, _ALWAYS)


def _removed(
    obj: Object, begin: datetime.datetime, gone: datetime.datetime, removals: Removals
) -> datetime.datetime:
    """Return when the last removal of an object was asked for; ``begin`` where none was."""
    meta = obj["metadata"]
    asked = removals.get((_PLURALS[obj["kind"]], meta["namespace"], meta["name"]), ())
    return max((at for at in asked if begin <= at <= gone), default=begin)


def _span(cluster: str, obj: Object, begin: datetime.datetime, end: datetime.datetime) -> Span:
    labels = obj["metadata"]["labels"]
    group = (obj["metadata"]["namespace"], labels[_SET], labels[_INDEX])
    return Span(obj["kind"], obj["metadata"]["name"], group, cluster, begin, end)


def moved(found: Iterable[Span], manager: Iterable[Seen]) -> list[str]:
    """Return what is wrong with what was there of groups that move.

    That is a group that ran in two clusters at once (INV-1), one that was made in a cluster while
    another one still had its Workload (INV-5), and quota that the manager took back while it ran
    (INV-3).
    """
    by_group: dict[tuple[str, str, str], list[Span]] = defaultdict(list)
    for one in found:
        by_group[one.group].append(one)
    wrong = []
    for group, some in by_group.items():
        pods = [one for one in some if one.kind == "Pod"]
        for number, pod in enumerate(pods):
            wrong += [
                f"INV-1: {group} ran in {pod.cluster} and {other.cluster} at once"
                for other in pods[number + 1 :]
                if other.cluster != pod.cluster and pod.meets(other)
            ]
        made = [one for one in some if one.kind == "LeaderWorkerSet"]
        offers = [one for one in some if one.kind == "Workload"]
        wrong += [
            f"INV-5: {group} was made in {one.cluster} while {offer.name} was in {offer.cluster}"
            for one in made
            for offer in offers
            if offer.cluster != one.cluster and offer.begin < one.begin < offer.end
        ]
    for group, since, at in _taken_back(manager):
        wrong += [
            f"INV-3: the quota of {group} was taken back while {pod.name} ran in {pod.cluster}"
            for pod in by_group.get(group, ())
            if pod.kind == "Pod" and pod.begin <= since and at < pod.end
        ]
    return wrong


def _taken_back(
    manager: Iterable[Seen],
) -> Iterator[tuple[tuple[str, str, str], datetime.datetime, datetime.datetime]]:
    """Yield each group whose quota the manager took back: not before when, and not after when."""
    had: set[str] = set()
    for one in manager:
        obj, uid = one.event["object"], one.event["object"]["metadata"]["uid"]
        if obj["kind"] != "Workload":
            continue
        quota = _condition(obj, "QuotaReserved")
        if quota.get("status") == "True":
            had.add(uid)
        elif uid in had:
            had.discard(uid)
            since = datetime.datetime.fromisoformat(quota["lastTransitionTime"])
            yield _of_manager(obj), since, one.at


def _of_manager(workload: Object) -> tuple[str, str, str]:
    annotations = workload["metadata"]["annotations"]
    return workload["metadata"]["namespace"], _owner(workload), annotations[_OF_GROUP]


def _condition(workload: Object, kind: str) -> Object:
    told = (workload.get("status") or {}).get("conditions") or ()
    return next((one for one in told if one["type"] == kind), {})
