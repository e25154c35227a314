"""What the Workload of one group asks for: release, report readiness, or stop.

Each group stands for itself (kueue-contract 8.2): what one Workload does or lacks never touches
the pods of another.
"""

from collections.abc import Collection
from datetime import datetime

from lws_kueue.api import actions, facts, kueue, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.admission import admissions
from lws_kueue.controller.observe import groups, observed
from lws_kueue.workload import (
    backing,
    eviction,
    fitness,
    naming,
    pods,
    pods_ready,
    release,
    state,
)


class Scene:
    """What the steps for one group may look at."""

    def __init__(
        self,
        seen: observed.Observed,
        owner: lws.LeaderWorkerSet,
        admitted: admissions.Admissions,
        *,
        terms: backing.Terms,
        now: datetime,
        alone: bool = True,
        barred: Collection[int] = (),
    ) -> None:
        """``alone`` says that no other cluster has a say in when a group has stopped.

        ``barred`` are the groups of which another cluster may have something.
        """
        self.alone = alone
        self.barred = barred
        self.terms = terms
        self.nodes = seen.nodes
        self.now = now
        self.admitted = admitted
        self.groups = admitted.own
        self.pods = admitted.pods
        self._size = owner.spec.leader_worker_template.size

    def size(self, index: int) -> int:
        """How many pods the group has when it is complete."""
        return self.groups[index].size if index in self.groups else self._size

    def may_run(self, workload: kueue.Workload | None) -> bool:
        """Whether pods may be released under the Workload."""
        return workload is not None and state.may_run(workload, self.terms.checks)


def group(scene: Scene, index: int, workload: kueue.Workload) -> actions.Part:
    """Follow one Workload: release, report readiness, or stop.

    Only pods that the chain of ownership puts into the group are ever released; what merely had
    its place there is stopped with it. What runs beyond the admission is stopped in any case.
    """
    found = scene.groups.get(index)
    own = found.pods if found else ()
    report = pods_ready.condition_write(workload, own, size=scene.size(index), now=scene.now)
    reported = actions.Part(chains=actions.each_alone((report,)))
    if state.must_stop(workload):
        return _stop(scene, index, workload, reported=reported)
    reported += stopped(scene, index, workload)
    if not scene.may_run(workload) or index in scene.barred:
        return reported
    if (problem := _unfit(scene, index, workload)) is not None:
        return reported + actions.Part(reasons=(problem.of(index),))
    return _release(scene, index, workload) + reported


def elsewhere(scene: Scene, index: int) -> actions.Part:
    """Stop what can run here of a group that is one of other clusters."""
    return stopped(scene, index, None)


def _release(scene: Scene, index: int, workload: kueue.Workload) -> actions.Part:
    """Release the gated pods of an admitted group, but for those that no node takes now."""
    own = scene.groups[index].pods if index in scene.groups else ()
    here = {pod.meta.uid for pod in own}
    others = [
        pod for pod in scene.pods.get(index, ()) if pod.meta.uid not in here and pods.could_run(pod)
    ]
    planned, problems = release.plan_release(workload, own, terms=scene.terms, beside=len(others))
    released, unfit = fitness.keep_off(planned, own, nodes=scene.nodes, now=scene.now)
    waiting, again = fitness.unscheduled(own, workload, now=scene.now)
    problems = (*problems, *((unfit,) if unfit else ()), *waiting)
    return actions.Part(
        chains=actions.each_alone((released,)),
        reasons=tuple(problem.of(index) for problem in problems[:1]),
        recheck_after=fitness.LOOK_AGAIN if unfit else again,
    )


def _unfit(scene: Scene, index: int, workload: kueue.Workload) -> Reason | None:
    """Return why the pods of a group may not run on the admission that its Workload has."""
    if (what := scene.admitted.outdated.get(index)) is not None:
        if naming.is_copy(workload.meta):
            return state.unfit_copy(workload, what)
        message = (
            f"Workload {workload.meta.name} was admitted for something else: {what} changed;"
            " the group waits for another admission"
        )
        # Any update that changes requests comes by here, and nobody has to act on it.
        return Reason("WorkloadOutdated", message, warns=False)
    if (why := scene.admitted.in_vain.get(index)) is not None:
        return Reason("FailedCreate", why)
    content = scene.admitted.wanted(index).content
    if content is not None and content.shape is not None:
        return None
    if not any(pods.gated(pod) for pod in scene.pods.get(index, ())):
        return None
    message = (
        f"nobody can tell whether Workload {workload.meta.name} is for the pods of group {index}:"
        " their ControllerRevision is missing or cannot be used, or their topology annotations are"
        " invalid"
    )
    return Reason("RevisionUnknown", message)


def before_its_turn(scene: Scene, index: int, workload: kueue.Workload) -> actions.Part:
    """Follow the Workload of a group that is not taken in yet: none of its pods runs under it."""
    own = scene.groups[index].pods
    if state.must_stop(workload):
        # What runs uses the quota, even if it is not stopped yet.
        cleared = _cleared(scene, index, workload, own)
        return actions.Part(chains=actions.each_alone((cleared,)))
    report = pods_ready.condition_write(workload, own, size=scene.size(index), now=scene.now)
    return actions.Part(chains=actions.each_alone((report,)))


def stopped(scene: Scene, index: int, workload: kueue.Workload | None) -> actions.Part:
    """Stop the pods that can run and that no admission stands behind.

    A worker StatefulSet without the gate, which somebody has taken out of it, would make the
    workers anew, ungated. It goes with its leader: in the foreground, so that it makes none while
    it waits for garbage collection.
    """
    found = scene.groups.get(index)
    deletions = eviction.stop(
        workload, scene.pods.get(index, ()), scene.terms, own=found.pods if found else ()
    )
    admitted = workload is not None and not state.must_stop(workload)
    if found is not None and (deletions or not admitted) and _makes_ungated(found):
        leader = found.leader
        # One that is being deleted already may wait for somebody's finalizer.
        writes = deletions if leader.meta.deleting else (eviction.replace_ungated(leader),)
        return actions.Part(chains=actions.each_alone(writes), stopping=frozenset({index}))
    return actions.Part(
        chains=actions.each_alone(deletions),
        stopping=frozenset({index} if deletions else ()),
    )


def _makes_ungated(group: groups.Group) -> bool:
    if group.worker_set is None:
        return False
    template = group.worker_set.spec.get("template") or {}
    gates = [gate.get("name") for gate in (template.get("spec") or {}).get("schedulingGates") or ()]
    # Those that Kueue has marked get the gate from the policy that gives pods their identity.
    labels = (template.get("metadata") or {}).get("labels") or {}
    marked = group.managed_by_kueue and names.QUEUE_NAME in labels
    return names.ADMISSION_GATE not in gates and not marked


def _stop(
    scene: Scene, index: int, workload: kueue.Workload, *, reported: actions.Part
) -> actions.Part:
    """Stop every pod that runs without quota, then give the quota back."""
    members = scene.pods.get(index, ())
    cleared = _cleared(scene, index, workload, members)
    stop = stopped(scene, index, workload) + actions.Part(
        chains=actions.each_alone((cleared,)),
        stopping=frozenset({index} if any(pods.could_run(pod) for pod in members) else ()),
        recheck_after=eviction.stuck_in(members, now=scene.now),
    )
    return stop if stop.chains else stop + reported


def _cleared(
    scene: Scene, index: int, workload: kueue.Workload, own: tuple[facts.Pod, ...]
) -> actions.Apply | None:
    """Return what gives quota back, once the group has stopped, if that is decided here alone."""
    if not scene.alone:
        return None
    return eviction.clear_admission(workload, scene.pods.get(index, own), now=scene.now)
