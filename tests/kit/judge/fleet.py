"""Whether groups that were dispatched to real clusters ever ran where they may not: INV-1 to INV-9.

It judges recordings of what each worker's API server told, by resourceVersions, and knows nothing
of the controller. No group of these recordings moves: so one that was seen in two clusters ran
twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

Object = dict[str, Any]
Group = tuple[str, str]
"""The set's name in the manager, and the index."""

_SET: Final = "lws-kueue.dev/origin-set"
_INDEX: Final = "lws-kueue.dev/group-index"
_MANAGER: Final = "lws-kueue.dev/manager"
_RUNS_IT: Final = "leaderworkerset.sigs.k8s.io/name"
_OWNER: Final = "kueue.x-k8s.io/job-owner-name"


def broken(recordings: Mapping[str, Iterable[Object]], *, quota: Mapping[str, int]) -> list[str]:
    """Return what is wrong with what was recorded of workers, by cluster, in the order of time.

    ``quota`` is how many pods may run in each of them at a time.
    """
    wrong: list[str] = []
    ran: dict[Group, set[str]] = defaultdict(set)
    for cluster, events in recordings.items():
        wrong += _in_cluster(cluster, _in_order(events), quota[cluster], ran)
    twice = {group: sorted(where) for group, where in ran.items() if len(where) > 1}
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
