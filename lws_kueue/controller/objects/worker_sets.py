"""What is put right on the worker StatefulSet of a group after its creation: very little.

Its template belongs to the revision of its leader, and another one would replace the pods of a
running group. So nothing is rendered anew. How many pods it wants is no part of the template:
whoever scales it takes away a part of the group, or adds pods that nothing counts on. Nor are the
fields that decide which pods those are and when they count (``foreign.set_back``). And marks of
tools, which earlier versions copied from the set, would have it deleted.
"""

from typing import Any

from lws_kueue.api import actions, tool_marks
from lws_kueue.controller.objects import foreign, statefulsets
from lws_kueue.controller.observe import groups


def put_right(group: groups.Group) -> actions.Chain:
    """Return the one write that a group's worker StatefulSet needs, if it needs any.

    Who scales that of another leader as well is the same rival, so the leader is no occasion.
    """
    live = group.worker_set
    if live is None or live.meta.deleting or group.leader.meta.deleting:
        return ()
    body: dict[str, Any] = {}
    if marks := tool_marks.copied(live):
        body["metadata"] = marks
    spec: dict[str, Any] = {"replicas": group.size - 1} if group.rescaled else {}
    spec |= foreign.set_back(live, first=1)
    if spec:
        body["spec"] = spec
    if not body:
        return ()
    return (actions.Patch(statefulsets.ref(live), body, live.meta.resource_version),)
