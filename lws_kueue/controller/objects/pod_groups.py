"""PodGroups, by which Volcano schedules a group's pods together or not at all (lws-contract 3.7).

A PodGroup belongs to the leader pod of its group and goes with it. Its name stands on the pods, in
an annotation that an admission policy writes when they are created. It is made before anything
else of the group and never changed: an update of the template makes a new leader, whose PodGroup
has another name.
"""

from typing import Any

from lws_kueue.api import lws, names, owners, quantity, requests
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.observe import groups


def of_group(
    owner: lws.LeaderWorkerSet, group: groups.Group, *, content: lws.LeaderWorkerSet
) -> dict[str, Any]:
    """Return the PodGroup of a group; ``content`` is the set at the revision of its leader.

    Raises:
        ValueError: a template asks for an amount that is no quantity.
    """
    inherited = {
        key: value
        for key, value in owner.meta.annotations.items()
        if key.startswith(names.VOLCANO_PREFIX)
    }
    labels = {
        names.SET_NAME: owner.meta.name,
        names.GROUP_INDEX: str(group.index),
        names.REVISION_KEY: group.key,
    }
    size = content.spec.leader_worker_template.size
    # The leader of a group that starts after it must be able to start alone.
    members = 1 if owner.spec.startup_policy == "LeaderReady" else size
    spec: dict[str, Any] = {"minMember": members, "minResources": _resources(content)}
    if queue := owner.meta.annotations.get(names.VOLCANO_QUEUE):
        spec["queue"] = queue
    return {
        "apiVersion": names.VOLCANO_API_VERSION,
        "kind": "PodGroup",
        "metadata": {
            "name": name_of(group),
            "namespace": owner.meta.namespace,
            "labels": labels,
            **({"annotations": inherited} if inherited else {}),
            "ownerReferences": [owners.of_pod(group.leader)],
        },
        "spec": spec,
    }


def name_of(group: groups.Group) -> str:
    """Return the name that the group's pods carry, "" if they carry none."""
    return group.leader.meta.annotations.get(names.POD_GROUP, "")


def missing_name(group: groups.Group) -> Reason:
    """Return what to say about a leader that names no PodGroup."""
    leader = group.leader.meta.name
    text = (
        f"leader pod {leader} has no annotation {names.POD_GROUP}, so its group is not scheduled "
        "as a gang: the pod is older than the setting, or the policy lws-kueue-volcano is not "
        "installed (lws-kueue install --gang-scheduling volcano); delete the pod to make the "
        "group anew"
    )
    return Reason("NoPodGroup", text, groups=(group.index,))


def _resources(content: lws.LeaderWorkerSet) -> dict[str, str]:
    """Return what a whole group requests."""
    template = content.spec.leader_worker_template
    worker = requests.of_pod(template.worker_template.get("spec") or {}, limits_count=False)
    leader = worker
    if template.leader_template is not None:
        leader = requests.of_pod(template.leader_template.get("spec") or {}, limits_count=False)
    return quantity.render_all(quantity.add(leader, quantity.times(worker, template.size - 1)))
