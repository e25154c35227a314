"""What every eviction has to look like, whoever asked for it (kueue-contract 1.13, 3.2).

The pods stop, then the quota is given back in one write: reservation, admission and Admitted
fall together, and Requeued tells Kueue what has to happen before the group may queue again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import sets
from tests.kit.lws.sample import Object

# Reserved, admission present, admitted.
Quota = tuple[bool, bool, bool]
GIVEN_BACK: Quota = (False, False, False)


class Story:
    """What happened to the Workloads and the pods of a namespace for a while."""

    def __init__(self, workloads: harness.Recording, pods: harness.Recording) -> None:
        self.workloads = workloads
        self.pods = pods

    def versions(self, uid: str) -> list[Object]:
        """Return what a Workload was like, in order."""
        return [
            event["object"]
            for event in self.workloads.events
            if event["object"]["metadata"]["uid"] == uid
        ]


@contextmanager
def story(one: queued.Queued) -> Iterator[Story]:
    """Record what happens in the namespace of a set."""
    with one.watching() as workloads, one.recording("v1", "Pod") as pods:
        yield Story(workloads, pods)


def was_given_back_at_once(
    told: Story, one: queued.Queued, uid: str, *, reason: str, requeued: bool
) -> None:
    """One eviction of a Workload was answered by exactly one write, and a complete one."""
    evicted = [
        version
        for version in told.versions(uid)
        if queued.said(version, "Evicted") == ("True", reason)
    ]
    kept = sets.steps([quota_of(version) for version in evicted])
    assert kept[-1] == GIVEN_BACK
    assert len(kept) == 2, f"in steps: {kept}"
    assert kept[0][:2] == (True, True)
    first = next(version for version in evicted if quota_of(version) == GIVEN_BACK)
    answered = harness.condition(first, "Requeued") or {}
    # By this reason Kueue lets what is activated again queue again; the cause would keep it out.
    known = "Deactivated" if reason.startswith("Deactivated") else reason
    assert (answered["status"], answered["reason"]) == ("True" if requeued else "False", known)
    assert answered["message"] == (harness.condition(first, "Evicted") or {})["message"]
    writes = _answers(one, first["metadata"]["name"])
    assert len(writes) == 1, f"{len(writes)} writes of the admission"


def quota_of(workload: Object) -> Quota:
    """Return what a Workload holds of its admission."""
    return (
        queued.is_true(workload, "QuotaReserved"),
        bool((workload.get("status") or {}).get("admission")),
        queued.is_true(workload, "Admitted"),
    )


def _answers(one: queued.Queued, name: str) -> list[object]:
    """Return the controller's successful writes of a Workload's admission; there is one each."""
    return [
        write
        for write in budget.writes(one.cluster, namespace=one.namespace)
        if (write.resource, write.name) == ("workloads/status", name)
        and f"fieldManager={names.ADMISSION_FIELD_MANAGER}" in write.uri
        and write.status == 200
    ]


def was_stopped_once(told: Story, one: queued.Queued, before: dict[str, str]) -> None:
    """The pods of a group were stopped exactly once, by the eviction and by nothing after it.

    A restart policy that took the deletions for failures would recreate the group again. Workers
    may be made twice, for the StatefulSet of the former leader is still there when they go; what
    is made like that is gated, and goes with it.
    """
    leader = min(before)
    # On a machine under load kwok asks late for what it ends, by name alone, and may take a gated
    # successor with it. So it is the controller's deletions that count, and who ran.
    asked = _deletions_asked_for(one, leader)
    assert asked == 1, f"{leader} was deleted {asked} times"
    for name, uid in before.items():
        ran = _incarnations_that_ran(told.pods, name)
        assert ran[0] == uid, f"{name} was another one before"
        assert len(ran) <= 2, f"{name} ran {len(ran)} times"
    assert not [text for reason, text in one.events() if reason == "RecreateGroup"]


def was_stopped_only_while_it_ran(told: Story, one: queued.Queued, before: dict[str, str]) -> None:
    """Each incarnation of a group's leader that ran was deleted once, but for the last one.

    For groups that may be admitted and preempted once more on the way to where they end.
    """
    leader = min(before)
    ran = _incarnations_that_ran(told.pods, leader)
    assert ran[0] == before[leader], f"{leader} was another one before"
    asked = _deletions_asked_for(one, leader)
    assert asked == len(ran) - 1, f"{leader} ran {len(ran)} times and was deleted {asked} times"
    assert not [text for reason, text in one.events() if reason == "RecreateGroup"]


def _deletions_asked_for(one: queued.Queued, pod: str) -> int:
    return sum(
        (write.verb, write.resource, write.name) == ("delete", "pods", pod)
        for write in budget.writes(one.cluster, namespace=one.namespace)
    )


def _incarnations_that_ran(pods: harness.Recording, name: str) -> list[str]:
    bound = [event["object"] for event in pods.events if "nodeName" in event["object"]["spec"]]
    found = [pod["metadata"] for pod in bound]
    return list(dict.fromkeys(meta["uid"] for meta in found if meta["name"] == name))
