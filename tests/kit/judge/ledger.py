"""How many groups of a set were available, from its pods alone."""

from collections.abc import Iterable

from lws_kueue_lab.sandbox.recorder import Object

from lws_kueue.api import names
from tests.kit.live import harness


def available_groups(pods: Iterable[Object]) -> set[str]:
    """Return the groups of one set of which all pods are ready and none is on its way out."""
    ready: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for pod in pods:
        meta = pod["metadata"]
        group = meta["labels"][names.GROUP_INDEX]
        if meta["labels"][names.WORKER_INDEX] == "0":
            sizes[group] = int(meta["annotations"][names.SIZE])
        if harness.is_ready(pod) and "deletionTimestamp" not in meta:
            ready[group] = ready.get(group, 0) + 1
    return {group for group, size in sizes.items() if ready.get(group, 0) == size}


def admitted(workload: Object) -> bool:
    """Whether Kueue says so."""
    return (harness.condition(workload, "Admitted") or {}).get("status") == "True"


def fewest(events: Iterable[Object], set_name: str, *, since: int) -> int | None:
    """Return how many groups were available at least, from a version on; None without an event."""
    pods: dict[str, Object] = {}
    counts = []
    for event in sorted(events, key=lambda e: int(e["object"]["metadata"]["resourceVersion"])):
        pod, meta = event["object"], event["object"]["metadata"]
        labels = meta.get("labels") or {}
        if pod["kind"] != "Pod" or labels.get(names.SET_NAME) != set_name:
            continue
        if event["type"] == "DELETED":
            pods.pop(meta["uid"], None)
        else:
            pods[meta["uid"]] = pod
        if int(meta["resourceVersion"]) > since:
            counts.append(len(available_groups(pods.values())))
    return min(counts, default=None)
