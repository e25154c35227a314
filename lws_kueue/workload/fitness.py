"""Pods are not released onto nodes that cannot take them now (kueue-contract 3.5).

Kueue chooses the nodes of a topology assignment when it admits a group, and pods that come back
later go to the same nodes. One that has been cordoned or tainted since, or is not ready, takes no
pod. Kueue ends what is sent to it at once, and replaces it only when no other pod of the group is
on it, so nothing is sent there. What room a node has is not looked at: only the scheduler knows,
and a pod that waits for room does no harm.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from lws_kueue.api import actions, facts, kueue, taints
from lws_kueue.api.reasons import Reason
from lws_kueue.tas import assignment
from lws_kueue.workload import conditions, state

# How soon to look again, in seconds, at a node that cannot take a pod; nodes are not watched.
LOOK_AGAIN: Final = 10.0

# The pods of a group that Kueue has just admitted go where it has just chosen. What was made later
# than this comes back, or comes late.
FRESH: Final = timedelta(seconds=10)

# For so long a pod waits until Kueue has noticed that its node is not there any more. Then it goes:
# a Kueue that was away when the node went learns of that by a pod which waits for the node.
NOTICED: Final = timedelta(seconds=10)

# A pod waits for room for so long before that is told; one before it may be about to end there.
PATIENCE: Final = timedelta(seconds=30)

Nodes = Mapping[str, facts.Node | None]


def comes_back(pod: facts.Pod, workload: kueue.Workload) -> bool:
    """Whether a pod is none of those that Kueue has chosen the nodes for just now.

    Its group has been ready under this admission, or has had it for a while. Neither needs a clock.
    """
    if been_ready(workload):
        return True
    admitted = workload.condition(state.ADMITTED)
    since = conditions.moment(admitted.last_transition_time if admitted else "")
    created = conditions.moment(pod.meta.created)
    return since is not None and created is not None and created - since > FRESH


def been_ready(workload: kueue.Workload) -> bool:
    """Whether the group has been ready under the admission that its Workload has."""
    ready = workload.condition(state.PODS_READY)
    return ready is not None and (ready.status == "True" or ready.reason == "WaitForRecovery")


def hosts(release: actions.Release | None) -> dict[str, str]:
    """Return the node that each pod of a release goes to, by pod name, if it is one node."""
    found = {} if release is None else {p.ref.name: _host(p) for p in release.patches}
    return {name: host for name, host in found.items() if host}


def _host(patch: actions.Patch) -> str:
    return str((patch.body["spec"].get("nodeSelector") or {}).get(assignment.HOSTNAME, ""))


def keep_off(
    release: actions.Release | None,
    pods: Sequence[facts.Pod],
    *,
    nodes: Nodes,
    now: datetime,
) -> tuple[actions.Release | None, Reason | None]:
    """Return a release without the pods whose nodes cannot take them, and why they wait.

    ``nodes`` are those that are known, None for one that does not exist. A node that is not known
    keeps nobody.
    """
    why = dict(_unfit(release, {pod.meta.name: pod for pod in pods}, nodes=nodes, now=now))
    if release is None or not why:
        return release, None
    text = f"{'; '.join(why.values())} (topology assignment of Workload {release.workload.name})"
    fix = (
        "Make the node usable again, or delete the other pods of the group there: Kueue replaces"
        " it when none is left"
    )
    left = tuple(patch for patch in release.patches if patch.ref.name not in why)
    kept = dataclasses.replace(release, patches=left, events=()) if left else None
    about = f"nodes of {', '.join(why)}"
    return kept, Reason("NodeUnfit", text, fix, about=about)


def _unfit(
    release: actions.Release | None,
    pods: Mapping[str, facts.Pod],
    *,
    nodes: Nodes,
    now: datetime,
) -> Iterator[tuple[str, str]]:
    patches = release.patches if release else ()
    for patch in patches:
        host, pod = _host(patch), pods[patch.ref.name]
        if host not in nodes:
            continue
        tolerated = patch.body["spec"].get("tolerations") or pod.spec.get("tolerations") or ()
        reason = unfit(nodes[host], pod, tolerations=tolerated, now=now)
        if reason is not None:
            yield pod.meta.name, f"pod {pod.meta.name} has its place on node {host}, which {reason}"


def unfit(
    node: facts.Node | None,
    pod: facts.Pod,
    *,
    tolerations: Sequence[Mapping[str, Any]],
    now: datetime,
) -> str | None:
    """Return in words why a node cannot take a pod that will have ``tolerations``; None: it can."""
    if node is None:
        created = conditions.moment(pod.meta.created)
        waits = created is not None and now - created < NOTICED
        return "does not exist" if waits else None
    if node.unschedulable and taints.untolerated([_CORDONED], tolerations) is not None:
        return "is cordoned"
    if not node.ready:
        return "is not ready"
    taint = taints.untolerated(node.taints, tolerations)
    if taint is None:
        return None
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"has the taint {taint['key']}{value}:{taint['effect']}, which the pod does not tolerate"


# What a cordoned node has as well, a moment later.
_CORDONED: Final = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def unscheduled(
    pods: Sequence[facts.Pod], workload: kueue.Workload, *, now: datetime
) -> tuple[tuple[Reason, ...], float | None]:
    """Return which pods wait on for a node of theirs, and in how many seconds to look again.

    A pod that was released onto one node and has not got it is the scheduler's, which says why. Its
    words change with every other node of the cluster; what the node lacks is taken from them.
    """
    found, again = [], None
    for pod in pods:
        if pod.unscheduled is None or pod.node or pod.meta.deleting:
            continue
        host = (pod.spec.get("nodeSelector") or {}).get(assignment.HOSTNAME)
        since = conditions.moment(pod.unscheduled.since)
        if since is None or not host:
            continue
        left = (since + PATIENCE - now).total_seconds()
        if left > 0:
            again = min(left, again or left)
            continue
        found.append(_waits(pod, host, workload, pod.unscheduled.message))
    return tuple(found), again


def _waits(pod: facts.Pod, host: str, workload: kueue.Workload, said: str) -> Reason:
    lacks = sorted({part.rstrip(",.") for part in _after("Insufficient", said)})
    why = f" has too little {' and '.join(lacks)} left" if lacks else " does not take it"
    text = (
        f"pod {pod.meta.name} waits for node {host}, its place in the topology assignment of"
        f" Workload {workload.meta.name}, which{why}; its condition PodScheduled says more"
    )
    fix = "Make room on the node, or delete the Workload to have the group placed anew"
    about = f"pod {pod.meta.name}: node {host}"
    return Reason("PodUnschedulable", text, fix, about=about)


def _after(word: str, text: str) -> Iterator[str]:
    words = text.split()
    return (after for before, after in itertools.pairwise(words) if before == word)
