"""State of the set x state of the Workload x pod: nothing that can run is without an admission."""

import copy
import dataclasses
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.workload import build, release
from tests.controller.test_intruders import CPU, Model
from tests.kit.memory import cluster_model, scenarios
from tests.kit.memory.kubernetes_model import Object
from tests.kit.memory.scenarios import SET

WORKER = f"{SET}-0-1"


def running() -> Model:
    """Return a set of which the one group of two runs on its admission."""
    shape = scenarios.Shape(1, 2, queue=scenarios.QUEUE, cpu=CPU, policy="None")
    model = Model(shape, quota="20m")
    model.settle(random.Random(0))
    assert len(model.admitted()) == 1
    return model


# States of the set: each makes of what is seen what it is then ----------------------------------

Seen = observed.Observed


def _with(seen: Seen, **meta: Any) -> Seen:
    assert seen.lws is not None
    changed = dataclasses.replace(seen.lws.meta, **meta)
    return dataclasses.replace(seen, lws=seen.lws.model_copy(update={"meta": changed}))


def _invalid(seen: Seen) -> Seen:
    assert seen.lws is not None
    problem = lws.InvalidSet(seen.lws.meta, "size: is no number")
    return dataclasses.replace(seen, lws=None, invalid=problem)


def _leaders(seen: Seen, **meta: Any) -> Seen:
    leader_set = seen.stateful_sets[SET]
    changed = dataclasses.replace(leader_set, meta=dataclasses.replace(leader_set.meta, **meta))
    return dataclasses.replace(seen, stateful_sets={**seen.stateful_sets, SET: changed})


STRANGER = facts.Owner("Deployment", "other", "other-uid", controller=True)
SETS: dict[str, Callable[[Seen], Seen]] = {
    "lives": lambda seen: seen,
    "is being deleted": lambda seen: _with(seen, deleted="2030-01-01T00:00:00Z"),
    "is gone": lambda seen: dataclasses.replace(seen, lws=None),
    "cannot be read": _invalid,
    "waits for its StatefulSet to go": lambda seen: _leaders(seen, deleted="2030-01-01T00:00:00Z"),
    "waits for its name": lambda seen: _leaders(seen, owners=(STRANGER,)),
    "cannot be decided": lambda seen: seen,
}

# States of the Workload -------------------------------------------------------------------------


def _condition(workload: Object, kind: str, status: bool, reason: str = "Any") -> None:
    told = workload["status"].setdefault("conditions", [])
    told[:] = [one for one in told if one["type"] != kind]
    since = "2030-01-01T00:00:00Z"
    told.append(
        {
            "type": kind,
            "status": str(status),
            "reason": reason,
            "message": "",
            "lastTransitionTime": since,
        }
    )


def _pending(workload: Object) -> None:
    workload["status"] = {}


def _reserved(workload: Object) -> None:
    _condition(workload, "Admitted", False)


def _evicted(workload: Object) -> None:
    _condition(workload, "Evicted", True, "Preempted")


def _deactivated(workload: Object) -> None:
    workload["status"] = {}
    workload["spec"]["active"] = False


def _finished(workload: Object) -> None:
    _condition(workload, "Finished", True)


def _elsewhere(workload: Object) -> None:
    workload["status"]["clusterName"] = "worker"


def _deleting(workload: Object) -> None:
    workload["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"


def _unreadable(workload: Object) -> None:
    workload["status"]["admission"] = {"written": "in another way"}


def _for_one(workload: Object) -> None:
    (assigned,) = workload["status"]["admission"]["podSetAssignments"]
    assigned |= {"count": 1, "resourceUsage": {"cpu": CPU}}


def _for_less(workload: Object) -> None:
    (assigned,) = workload["status"]["admission"]["podSetAssignments"]
    workload["spec"]["podSets"][0]["template"]["spec"]["containers"][0]["resources"] = {}
    assigned["resourceUsage"] = {"cpu": "2m"}


def _other_podset(workload: Object) -> None:
    workload["status"]["admission"]["podSetAssignments"][0]["name"] = "other"


WORKLOADS: dict[str, Callable[[Object], None] | None] = {
    "there is none": None,
    "pending": _pending,
    "with quota, and not admitted": _reserved,
    "admitted": lambda workload: None,
    "evicted": _evicted,
    "deactivated": _deactivated,
    "finished": _finished,
    "in another cluster": _elsewhere,
    "being deleted": _deleting,
    "not readable": _unreadable,
    "admitted for one pod": _for_one,
    "admitted for less": _for_less,
    "admitted for another podset": _other_podset,
}

# What the worker is -----------------------------------------------------------------------------


def _bigger(pod: Object) -> None:
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "11m"


def _more_containers(pod: Object) -> None:
    more = {"name": "more", "resources": {"requests": {"cpu": "1m"}}}
    pod["spec"]["containers"] = [*pod["spec"]["containers"], more]


def _whole_pod(pod: Object) -> None:
    pod["spec"]["resources"] = {"requests": {"cpu": "1"}}


def _poisoned(pod: Object) -> None:
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "many"


def _without_marks(pod: Object) -> None:
    for key in (names.WORKLOAD, names.POD_SUSPENDING_PARENT):
        pod["metadata"]["annotations"].pop(key, None)


def _gated(pod: Object) -> None:
    pod["spec"]["schedulingGates"] = [{"name": names.ADMISSION_GATE}]


def _going(pod: Object) -> None:
    pod["metadata"] |= {
        "deletionTimestamp": "2030-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 30,
    }


def _over(pod: Object) -> None:
    pod["status"] = {"phase": "Succeeded"}


PODS: dict[str, Callable[[Object], None]] = {
    "as it was released": lambda pod: None,
    "without its marks": _without_marks,
    "bigger": _bigger,
    "with a container more": _more_containers,
    "with requests of its own as a whole": _whole_pod,
    "with an amount that is none": _poisoned,
    "gated": _gated,
    "being deleted": _going,
    "over": _over,
}
STAYS = {"gated", "being deleted", "over"}
EXCEEDS = {
    "bigger",
    "with a container more",
    "with requests of its own as a whole",
    "with an amount that is none",
}


def _may_run(set_: str, workload: str, pod: str) -> bool:
    """Say without the controller's rules whether a worker may go on."""
    if pod in STAYS:
        return True
    if set_ in ("is gone", "cannot be read") and pod == "without its marks":
        # Nothing tells that it was made to wait; only a policy can keep its mark. What Kueue wants
        # to have back is stopped all the same.
        return workload != "evicted"
    if workload == "being deleted":
        # Its quota is kept until the pods have ended; of a set that lives they are stopped.
        return set_ != "lives" and pod not in EXCEEDS
    if workload == "not readable":
        return True  # Kueue says that it is admitted.
    if workload in ("admitted", "admitted for one pod"):
        return pod not in EXCEEDS and (workload == "admitted")
    return False


def _stopped(plan: actions.Plan) -> set[str]:
    every = [action for chain in plan.chains for action in chain]
    deleted = [one for one in every if isinstance(one, actions.Delete) and one.ref.kind == "Pod"]
    return {one.ref.name for one in deleted}


BASE = running()


def _observed(workload: str, pod: str, monkeypatch: pytest.MonkeyPatch) -> Seen:
    objects = copy.deepcopy(BASE.objects)
    monkeypatch.setattr(BASE, "objects", objects)
    ((key, stored),) = [(key, obj) for key, obj in objects.items() if key[0] == "Workload"]
    change = WORKLOADS[workload]
    if change is None:
        del objects[key]
    else:
        change(stored)
        BASE.touch(stored)
    worker = objects["Pod", WORKER]
    PODS[pod](worker)
    BASE.touch(worker)
    return BASE.observe(SET)


@pytest.mark.parametrize(
    ("set_", "workload", "pod"), list(itertools.product(SETS, WORKLOADS, PODS))
)
def test_nothing_that_can_run_is_without_an_admission(
    monkeypatch: pytest.MonkeyPatch, set_: str, workload: str, pod: str
) -> None:
    seen = SETS[set_](_observed(workload, pod, monkeypatch))
    options = build.Options()
    now = cluster_model.NOW
    if set_ == "cannot be decided":
        plan = decide.undecided(seen, ValueError("any"), now=now, options=options)
    else:
        plan = decide.decide(seen, now=now, options=options)
    stopped = _stopped(plan)
    assert (WORKER in stopped) is not _may_run(set_, workload, pod), stopped


def test_an_error_in_deciding_one_group_leaves_the_others_and_stops_what_is_not_admitted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = scenarios.Shape(3, 2, queue=scenarios.QUEUE, cpu=CPU, policy="None")
    model = Model(shape, quota="60m")
    model.settle(random.Random(0))
    for name in (f"{SET}-0-1", f"{SET}-1-1", f"{SET}-2-1"):
        pod = model.objects["Pod", name]
        if name != f"{SET}-1-1":
            # These come back and have to be let go again.
            _gated(pod)
        else:
            _bigger(pod)
        model.touch(pod)
    real = release.plan_release

    def failing(workload: kueue.Workload, *given: Any, **more: Any) -> Any:
        if workload.meta.annotations[names.COMPONENT_WORKLOAD_INDEX] == "1":
            raise RuntimeError("a fault of ours")
        return real(workload, *given, **more)

    monkeypatch.setattr(release, "plan_release", failing)
    plan = model.decide(SET)
    assert [str(fault) for fault in plan.faults] == ["a fault of ours"]
    assert _stopped(plan) == {f"{SET}-1-1"}
    released = [
        patch.ref.name
        for chain in plan.chains
        for action in chain
        if isinstance(action, actions.Release)
        for patch in action.patches
    ]
    assert sorted(released) == [f"{SET}-0-1", f"{SET}-2-1"]
    assert "InternalError" in {reason.code for reason in plan.reasons}
