"""Exclusive placement: a group has a topology domain to itself (lws-contract 5.5).

The leader goes where no other group is, by terms of affinity that the admission policy gives it.
Once it has a node, its workers are pinned to the value that this node has for the topology's key,
in the template of their StatefulSet. So a decision needs the labels of a few nodes, at the moment
when workers are made; nodes are not watched for that.
"""

from lws_kueue.api import facts, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.objects import startup
from lws_kueue.controller.observe import observed


def topology_key(owner: lws.LeaderWorkerSet) -> str:
    """Return the node label whose values are the domains, "" without exclusive placement."""
    return owner.meta.annotations.get(names.EXCLUSIVE_TOPOLOGY, "")


def nodes_asked(seen: observed.Observed) -> frozenset[str]:
    """Return the names of the nodes whose labels the next decision needs."""
    owner = seen.lws
    if owner is None or owner.meta.deleting or not topology_key(owner):
        return frozenset()
    about_to_be_made = seen.found.each(
        "workers are next",
        lambda group: group.leader.node if startup.worker_set(owner, group).create else None,
        given=(seen.memo.same("set", owner.asked),),
    )
    return frozenset(about_to_be_made.values())


def domain(
    owner: lws.LeaderWorkerSet, leader: facts.Pod, *, seen: observed.Observed
) -> str | Reason:
    """Return the leader's domain, for its workers to follow, or what stands against it."""
    key = topology_key(owner)
    if leader.node not in seen.nodes:
        return _refused(
            f"node {leader.node} of leader pod {leader.meta.name} could not be read, so its "
            f"workers cannot be placed in the same {key}; the controller's log says why"
        )
    node = seen.nodes[leader.node]
    if node is None:
        return _refused(
            f"leader pod {leader.meta.name} is on node {leader.node}, which does not exist, so "
            f"its workers cannot be placed in the same {key}"
        )
    value = node.meta.labels.get(key)
    if value is None:
        return _refused(
            f"node {leader.node} of leader pod {leader.meta.name} has no label {key}, which the "
            f"annotation {names.EXCLUSIVE_TOPOLOGY} asks for; label the node or change the "
            "annotation"
        )
    return value


def _refused(text: str) -> Reason:
    return Reason("FailedCreate", text)
