"""`kubectl lws explain`: why groups of a set wait, what is free, and the one thing to change.

A reason is that of the controller's own decision. What keeps a group from running after its
admission is none of that: it is read off its pods and their nodes.
"""

import asyncio
import datetime
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Any, Final

import click

from lws_kueue.api import completion, facts, kueue, lws, names, quantity, reasons, requests, taints
from lws_kueue.controller import finalizers
from lws_kueue.controller.admission import waiting
from lws_kueue.controller.observe import scope
from lws_kueue.kubectl import decided, look, options, queueing, quota, screen
from lws_kueue.runtime import keys, resources
from lws_kueue.workload import conditions, podsets, state

# What may hold pods of a set and is expected to.
_KUEUES: Final = frozenset({names.ADMISSION_GATE, names.TOPOLOGY_GATE})
# How many of those ahead, of victims and of pods are named.
_MOST_NAMED: Final = 5
# What of a Workload Kueue says about why it waits.
_TOLD: Final = (state.QUOTA_RESERVED, state.ADMITTED, state.EVICTED, state.REQUEUED)


@dataclass(frozen=True, slots=True)
class Said:
    """What Kueue says in a condition of a Workload."""

    condition: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Room:
    """What is free of a resource in a flavor, and why it is no more; amounts are quantities.

    ``limited_by`` is the field that would have to be larger, or "cohort". The others are as in
    `quota.Free`, "" for none.
    """

    flavor: str
    resource: str
    free: str
    nominal: str
    used: str
    borrowed: str
    borrowing_limit: str
    lending_limit: str
    cohort: str
    free_in_cohort: str
    limited_by: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a group does not run; ``code`` is that of the reason, ``change`` the one thing to change.

    Amounts are quantities. ``preemption`` says whether room could be made. ``backs_off_until`` is
    when Kueue considers the group again.
    """

    groups: tuple[int, ...]
    code: str
    why: str
    change: str = ""
    workload: str = ""
    local_queue: str = ""
    cluster_queue: str = ""
    priority: int | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    free: tuple["Room", ...] = ()
    position: queueing.Position | None = None
    ahead: tuple[queueing.Ahead, ...] = ()
    preemption: queueing.Preemption | None = None
    checks: Mapping[str, str] = field(default_factory=dict)
    topology: tuple[str, ...] = ()
    backs_off_until: datetime.datetime | None = None
    kueue_says: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is to be said of a set: of groups that do not run, and of the set as a whole.

    ``controller_says`` is the set's own condition, where what is decided here may be another thing
    because not everything may be read.
    """

    namespace: str
    name: str
    running: int
    replicas: int
    explanations: tuple[Explanation, ...] = ()
    of_the_set: tuple[Explanation, ...] = ()
    controller_says: str = ""


def answer(seen: look.Seen, *, group: int | None = None) -> Answer:
    """Explain what was seen of a set, or one group of it.

    Raises:
        LookupError: the set has no such group.
    """
    what = decided.of(seen)
    owner, observed = seen.observed.lws, seen.observed
    every = what.indices
    if group is not None and group not in every:
        raise LookupError(
            f"{observed.name} has no group {group}: it has {len(every)}, from 0 to {len(every) - 1}"
        )
    chosen = every if group is None else (group,)
    about = {index: why for index in chosen if (why := _why(what, index)) is not None}
    whole = tuple(
        Explanation((), one.code, one.text, one.fix)
        for one in what.plan.reasons
        if not one.groups and (one.warns or not one.waits)
    )
    told = ""
    if not seen.decisive:
        about, told = {}, _told(owner)
    return Answer(
        namespace=observed.namespace,
        name=observed.name,
        running=sum(_runs(what, index) for index in every),
        replicas=what.wanted,
        explanations=tuple(_explained(what, merged) for merged in _merged(about)),
        of_the_set=whole if seen.decisive else (),
        controller_says=told,
    )


def _merged(about: Mapping[int, reasons.Reason]) -> tuple[reasons.Reason, ...]:
    return reasons.merged(why.of(index) for index, why in about.items())


def _told(owner: lws.LeaderWorkerSet | None) -> str:
    conditions_ = owner.status.conditions if owner else ()
    found = next((one for one in conditions_ if one.type == names.WAITING), None)
    return found.message if found is not None and found.status == "True" else ""


def _runs(what: decided.Decided, index: int) -> bool:
    group = what.groups.get(index)
    return group is not None and group.ready


# Why ----------------------------------------------------------------------------------------


def _why(what: decided.Decided, index: int) -> reasons.Reason | None:
    """Return why a group does not run; None if it does, or is not meant to."""
    own = [one for one in what.plan.reasons if index in one.groups]
    if held := [one for one in own if one.waits]:
        return held[0]
    seen = what.seen.observed
    workload = what.workloads.get(index)
    kueues = what.manager is not None and what.manager.built_in
    if seen.lws is not None and kueues:
        found = waiting.why(seen, seen.lws, workload)
        if found is not None:
            text = f"Kueue's own LeaderWorkerSet integration manages the set: {found.text}"
            return replace(found, text=text)
    group = what.groups.get(index)
    if group is None:
        return own[0] if own else _not_made(what, index)
    if group.ready:
        return None
    return own[0] if own else _of_pods(what, group.pods, workload)


def _not_made(what: decided.Decided, index: int) -> reasons.Reason | None:
    if index >= what.wanted:
        return None
    leaders = f"StatefulSet {what.seen.observed.name}"
    refused = next((one for one in what.plan.reasons if one.code == "FailedCreate"), None)
    if refused is not None:
        return refused
    return reasons.Reason(
        "PodsMissing",
        f"its leader pod has not been made yet by {leaders}",
        fix="see that the controller and kube-controller-manager run",
    )


def _of_pods(
    what: decided.Decided, pods: tuple[facts.Pod, ...], workload: kueue.Workload | None
) -> reasons.Reason:
    """Return what keeps the pods of a group that may run from being ready."""
    return (
        next(_of_gates(pods), None)
        or next(_of_nodes(what, pods), None)
        or next(_of_scheduling(what, pods, workload), None)
        or _of_start(pods)
    )


def _of_gates(pods: Iterable[facts.Pod]) -> Iterator[reasons.Reason]:
    for pod in pods:
        if others := sorted({*pod.gates} - _KUEUES):
            text = f"Pod {pod.meta.name} is held by the scheduling gate {', '.join(others)}"
            yield reasons.Reason("SchedulingGated", text, "whoever has put the gate there lifts it")


def _of_nodes(what: decided.Decided, pods: Iterable[facts.Pod]) -> Iterator[reasons.Reason]:
    nodes = what.seen.observed.nodes
    for pod in pods:
        node = nodes.get(pod.node) if pod.node else None
        if node is not None and not node.ready:
            text = f"Node {pod.node} of pod {pod.meta.name} is not ready"
            yield reasons.Reason("NodeNotReady", text, f"repair or delete node {pod.node}")
        elif pod.node and nodes and pod.node not in nodes:
            text = f"Node {pod.node} of pod {pod.meta.name} is gone"
            yield reasons.Reason("NodeGone", text, f"delete pod {pod.meta.name}")


def _of_scheduling(
    what: decided.Decided, pods: Iterable[facts.Pod], workload: kueue.Workload | None
) -> Iterator[reasons.Reason]:
    for pod in pods:
        if pod.unscheduled is None or pod.node:
            continue
        said = f"the scheduler finds no node for pod {pod.meta.name}: {pod.unscheduled.message}"
        yield from _of_flavor(what, pod, workload, said)
        yield reasons.Reason("PodUnschedulable", said, "make room, or let the pods ask for less")


def _of_flavor(
    what: decided.Decided, pod: facts.Pod, workload: kueue.Workload | None, said: str
) -> Iterator[reasons.Reason]:
    """Say that the nodes of a flavor are the cause, which are not there or do not take the pod."""
    admission = workload.status.admission if workload else None
    nodes = [node for node in what.seen.observed.nodes.values() if node is not None]
    if admission is None or not nodes:
        return
    used = {one for part in admission.pod_set_assignments for one in part.flavors.values()}
    for name in sorted(used):
        flavor = what.seen.observed.kueue.flavors.get(name)
        if flavor is None:
            continue
        fitting = [node for node in nodes if flavor.node_labels.items() <= node.meta.labels.items()]
        if not fitting:
            text = f"no node has the labels of ResourceFlavor {name}; {said}"
            fix = f"label nodes, or correct spec.nodeLabels of ResourceFlavor {name}"
            yield reasons.Reason("FlavorWithoutNodes", text, fix)
            continue
        tolerated = pod.spec.get("tolerations") or ()
        kept_off = [taints.untolerated(node.taints, tolerated) for node in fitting]
        if all(kept_off) and kept_off[0] is not None:
            key = kept_off[0].get("key")
            text = f"all nodes of ResourceFlavor {name} have a taint such as {key}; {said}"
            fix = f"name the taint in spec.nodeTaints of ResourceFlavor {name}, or tolerate it"
            yield reasons.Reason("NodesTainted", text, fix)


def _of_start(pods: Iterable[facts.Pod]) -> reasons.Reason:
    late = [pod for pod in pods if not pod.ready]
    if not late:
        return reasons.Reason("Starting", "its pods are ready; the controller counts them next")
    first = late[0]
    text = f"{len(late)} of its pods are not ready, such as {first.meta.name} ({first.phase})"
    return reasons.Reason("PodsNotReady", text, f"kubectl describe pod {first.meta.name} says more")


# What there is to say of it -------------------------------------------------------------------


def _explained(what: decided.Decided, why: reasons.Reason) -> Explanation:
    """Say all that bears on a reason; of several groups that of the first."""
    seen, observed = what.seen, what.seen.observed
    indices = tuple(why.groups)
    workload = what.workloads.get(indices[0])
    made = Explanation(indices, why.code, why.text, why.fix)
    if observed.lws is None or what.manager in (None, scope.ManagedBy.NOBODY):
        return made
    local = observed.lws.queue_name
    feeds = observed.kueue.local_queues.get(local)
    name = feeds.cluster_queue if feeds else ""
    needs = _needs(what, workload)
    made = replace(made, local_queue=local, cluster_queue=name, needs=quantity.render_all(needs))
    made = replace(made, change=made.change or _of_queue(made))
    if workload is None:
        return made
    made = replace(
        made,
        workload=workload.meta.name,
        priority=workload.spec.priority,
        checks={
            one.name: one.state + (f": {one.message}" if one.message else "")
            for one in workload.status.admission_checks
        },
        topology=_topology(workload),
        backs_off_until=_until(workload, seen.now),
        kueue_says=tuple(_said(workload)),
    )
    if state.admission(workload) is state.Admission.DEACTIVATED:
        start = f"kubectl lws start {observed.name} --group {indices[0]}"
        return replace(made, change=f"{start}, which sets spec.active of its Workload to true")
    if state.admission(workload) is state.Admission.DELETING:
        return replace(made, change=made.change or _of_finalizers(workload))
    if state.admission(workload) is not state.Admission.PENDING:
        return made
    return _queued(made, seen, workload, needs)


def _queued(
    made: Explanation, seen: look.Seen, workload: kueue.Workload, needs: quantity.Amounts
) -> Explanation:
    """Say what is free for a Workload that waits in its queue, and who is ahead of it."""
    stored = seen.named(resources.CLUSTER_QUEUES, made.cluster_queue)
    every = tuple(map(kueue.Workload.of, seen.of(resources.WORKLOADS)))
    waits = queueing.queue(made.cluster_queue, every, seen.of(resources.LOCAL_QUEUES))
    position, before = queueing.position(workload, waits, seen.pending)
    quotas = quota.Quotas(seen.of(resources.CLUSTER_QUEUES), seen.of(look.COHORTS))
    free = quotas.of(made.cluster_queue, needs)
    short = quota.lacking(free, needs)
    spec = (stored or {}).get("spec") or {}
    made = replace(
        made,
        position=position,
        ahead=queueing.ahead(before, every),
        free=tuple(map(_room, free)),
        preemption=queueing.preemption(workload, waits, spec, short),
    )
    if made.change:
        return made
    change = (
        _of_quota(made, quotas, short)
        or _of_place(made, seen, workload, spec)
        or _of_turn(made, workload, spec)
    )
    return replace(made, change=change)


def _room(one: quota.Free) -> Room:
    def amount(value: int | None) -> str:
        return "" if value is None else quantity.render(one.resource, value)

    return Room(
        flavor=one.flavor,
        resource=one.resource,
        free=amount(one.free),
        nominal=amount(one.nominal),
        used=amount(one.used),
        borrowed=amount(one.borrowed or None),
        borrowing_limit=amount(one.borrowing_limit),
        lending_limit=amount(one.lendable),
        cohort=one.cohort,
        free_in_cohort=amount(one.cohort_free),
        limited_by=one.bound,
    )


# The one thing to change, where the reason itself names none.


def _of_queue(made: Explanation) -> str:
    """Say what to change where no quota would help, because the queue lets nothing in."""
    local, queue = made.local_queue, made.cluster_queue
    match made.code:
        case "KueueMissing":
            return "install Kueue 0.15 or later"
        case "LocalQueueMissing":
            return f"create LocalQueue {local}, or give the set the {names.QUEUE_NAME} of another"
        case "LocalQueueStopped":
            return f"set spec.stopPolicy of LocalQueue {local} to None"
        case "ClusterQueueMissing":
            return f"create ClusterQueue {queue}, or have LocalQueue {local} name another"
        case "ClusterQueueStopped":
            return f"set spec.stopPolicy of ClusterQueue {queue} to None"
        case "ClusterQueueInactive":
            return f"make what ClusterQueue {queue} lacks, or give the set another queue"
        case "AdmissionGated":
            return f"whoever has put the annotation {names.ADMISSION_GATED_BY} there takes it off"
        case "AdmissionCheckPending":
            return "nothing, if whoever serves the check answers"
    return ""


def _of_quota(
    made: Explanation, quotas: quota.Quotas, short: Mapping[str, tuple[quota.Free, int]]
) -> str:
    queue = made.cluster_queue
    for resource, (free, missing) in short.items():
        amount = quantity.render(resource, missing)
        if free.bound == "cohort":
            for lender, kept in quotas.unlent(queue, (free.flavor, resource)):
                if kept >= missing:
                    return (
                        f"raise lendingLimit of {resource} in flavor {free.flavor} of ClusterQueue"
                        f" {lender} by {amount}, which has that unused, or wait until as much is"
                        f" given back in cohort {free.cohort}"
                    )
            where = f"Cohort {free.cohort}: nobody in it has {amount} more {resource} to lend"
            return (
                f"{where}; raise nominalQuota of {resource} in flavor {free.flavor} of"
                f" ClusterQueue {queue} or of the cohort, or wait until it is given back"
            )
        return (
            f"raise {free.bound} of {resource} in flavor {free.flavor} of ClusterQueue {queue} by"
            f" {amount}, or wait until as much is given back"
        )
    return ""


def _of_finalizers(workload: kueue.Workload) -> str:
    """Say who else holds a Workload that is deleted; the controller says so if that takes long."""
    others = finalizers.foreign(workload.meta)
    if not others:
        return ""
    return (
        f"whoever has put the finalizer {', '.join(others)} on Workload {workload.meta.name} takes"
        " it off"
    )


def _of_place(
    made: Explanation, seen: look.Seen, workload: kueue.Workload, spec: Mapping[str, Any]
) -> str:
    """Return what to change about a topology, if quota is there and Kueue has said no."""
    refused = workload.condition(state.QUOTA_RESERVED)
    if made.backs_off_until is not None or refused is None or not refused.message:
        return ""
    known = dict(look.topologies(seen, _flavors(spec)))
    asked = tuple(_levels(workload))
    for level in asked:
        for name, levels in known.items():
            if level not in levels:
                return (
                    f"Topology {name} has no level {level}: ask for one of {', '.join(levels)}, or"
                    " give the set a queue whose flavors have it"
                )
    if not asked or not known:
        return ""
    return (
        f"make room in one {asked[0]} of Topology {' or '.join(known)}, or ask for the place as"
        " preferred"
    )


def _flavors(spec: Mapping[str, Any]) -> Iterator[str]:
    """Return the names of the flavors of a ClusterQueue."""
    for group in spec.get("resourceGroups") or ():
        for flavor in group.get("flavors") or ():
            yield str(flavor["name"])


def _levels(workload: kueue.Workload) -> Iterator[str]:
    """Return the levels of a topology in one domain of which something has to be."""
    for pod_set in workload.spec.pod_sets:
        asked = pod_set.topology_request
        for level in (asked.required, asked.pod_set_slice_required_topology) if asked else ():
            if level is not None:
                yield level


def _of_turn(made: Explanation, workload: kueue.Workload, spec: Mapping[str, Any]) -> str:
    if made.backs_off_until is not None:
        return "nothing: Kueue considers it again by itself"
    queue = made.cluster_queue
    if made.ahead and spec.get("queueingStrategy") == "StrictFIFO":
        first = made.ahead[0]
        return (
            f"nothing it needs is missing; ClusterQueue {queue} is StrictFIFO, and Workload"
            f" {first.namespace}/{first.workload} is ahead"
        )
    told = workload.condition(state.QUOTA_RESERVED)
    if (told is None or not told.message) and not made.ahead:
        return "if that lasts, see that Kueue runs: nothing is ahead in the queue"
    return ""


def _needs(what: decided.Decided, workload: kueue.Workload | None) -> quantity.Amounts:
    """Return what a group asks for: as Kueue reckons it, or else by the same rules."""
    if workload is not None and (told := queueing.asked(workload)):
        return told
    seen = what.seen.observed
    assert seen.lws is not None
    completed = completion.completions(seen.limit_ranges.values(), seen.runtime_classes.values())[0]
    parts: list[dict[str, Any]] = (
        [{"template": one.template, "count": one.count} for one in workload.spec.pod_sets]
        if workload is not None
        else podsets.pod_sets(seen.lws.spec.leader_worker_template)
    )
    try:
        return quantity.add(
            *(
                quantity.times(
                    requests.of_pod(one["template"].get("spec") or {}, completed=completed),
                    one["count"],
                )
                for one in parts
            )
        )
    except ValueError:
        return {}


def _topology(workload: kueue.Workload) -> tuple[str, ...]:
    found = []
    for one in workload.spec.pod_sets:
        asked = one.topology_request
        if asked is None:
            continue
        if asked.required is not None:
            found.append(f"{one.name}: all {one.count} pods in one {asked.required}")
        elif asked.preferred is not None:
            found.append(f"{one.name}: {one.count} pods in one {asked.preferred} if possible")
        if asked.pod_set_slice_required_topology is not None:
            found.append(
                f"{one.name}: slices of {asked.pod_set_slice_size} pods, each in one"
                f" {asked.pod_set_slice_required_topology}"
            )
    return tuple(found)


def _until(workload: kueue.Workload, now: datetime.datetime) -> datetime.datetime | None:
    requeue = workload.stored_status.get("requeueState") or {}
    until = conditions.moment(requeue.get("requeueAt") or "")
    return until if until is not None and until > now else None


def _said(workload: kueue.Workload) -> Iterator[Said]:
    for kind in _TOLD:
        one = workload.condition(kind)
        if one is not None and one.message:
            yield Said(kind, one.status, one.reason, one.message)


# How it is shown ------------------------------------------------------------------------------


def blocks(found: Answer, *, now: datetime.datetime) -> list[screen.Block]:
    """Return the screen of an answer."""
    shown: list[screen.Block] = []
    if not found.explanations and not found.controller_says:
        runs = f"{found.running} of {found.replicas} groups of {found.name} run; none waits."
        shown.append(screen.Line(runs))
    if found.controller_says:
        shown.append(screen.Facts((("The controller says", found.controller_says),)))
    for one in (*found.explanations, *found.of_the_set):
        if shown:
            shown.append(screen.Line(""))
        shown += _block(one, now)
    return shown


def _block(one: Explanation, now: datetime.datetime) -> Iterator[screen.Block]:
    which = reasons.numbered(one.groups) if one.groups else "the set"
    yield screen.Line(f"{which[0].upper()}{which[1:]}: {one.code}", style="bold")
    queue = one.local_queue and f"LocalQueue {one.local_queue}"
    if one.cluster_queue:
        queue += f", ClusterQueue {one.cluster_queue}"
    pairs = [("Why", one.why), ("Change", one.change)]
    if one.groups and one.needs:
        each = " each" if len(one.groups) > 1 else ""
        pairs.append(("Needs", ", ".join(f"{k} {v}" for k, v in one.needs.items()) + each))
    pairs += [
        ("Queue", queue),
        ("Position", _position(one.position)),
        ("Ahead", _ahead(one.ahead)),
        ("Preemption", _preempts(one.preemption)),
        ("Checks", "; ".join(f"{name} {said}" for name, said in one.checks.items())),
        ("Topology", "; ".join(one.topology)),
        ("Back-off", _backs_off(one.backs_off_until, now)),
    ]
    yield screen.Facts(tuple(pairs), indent=3)
    if one.free:
        yield screen.Table(_FREE, tuple(astuple(room) for room in one.free), indent=3)
    said = tuple((f"{one.condition}={one.status}", one.message) for one in one.kueue_says)
    if said:
        yield screen.Line("   Kueue says")
        yield screen.Facts(said, indent=6)


_FREE: Final = tuple(one.name.replace("_", " ").upper() for one in fields(Room))


def _position(one: queueing.Position | None) -> str:
    if one is None:
        return ""
    by = "Kueue's visibility API" if one.told else "reckoned from priority and age"
    return (
        f"{screen.ordinal(one.in_cluster_queue)} of {one.of_cluster_queue} in the ClusterQueue,"
        f" {screen.ordinal(one.in_local_queue)} of {one.of_local_queue} in the LocalQueue ({by})"
    )


def _ahead(those: tuple[queueing.Ahead, ...]) -> str:
    named = []
    for one in those[:_MOST_NAMED]:
        asks = ", ".join(f"{name} {amount}" for name, amount in one.requests.items())
        details = f"priority {one.priority}" + (f", needs {asks}" if asks else "")
        named.append(f"{one.namespace}/{one.workload} ({details})")
    return screen.some(named + [""] * (len(those) - len(named)), most=_MOST_NAMED)


def _preempts(one: queueing.Preemption | None) -> str:
    if one is None:
        return ""
    reclaims = f"; reclaimWithinCohort is {one.reclaim}" if one.reclaim else ""
    return f"withinClusterQueue is {one.policy}: {_within(one)}{reclaims}"


def _within(one: queueing.Preemption) -> str:
    if one.policy == "Never":
        return "it makes no room here"
    if not one.victims:
        return "no Workload that holds quota here may be preempted for it"
    victims = screen.some(one.victims, most=_MOST_NAMED)
    return f"{victims} {'could make room' if one.possible else 'may be preempted, not enough'}"


def _backs_off(until: datetime.datetime | None, now: datetime.datetime) -> str:
    if until is None:
        return ""
    left = screen.age(now, until)
    return f"until {until.isoformat().replace('+00:00', 'Z')}, {left} from now"


@click.command("explain")
@options.NAME
@click.option("--group", type=click.IntRange(0), help="Of one group alone, by its index.")
@options.FORMAT
@options.command
def explain(where: options.Where, name: str, group: int | None, format_: screen.Format) -> None:
    """Say why groups of a set do not run, what is free, who is ahead, and what to change.

    The reasons are those that the controller decides on; it need not run for this.
    """
    server, namespace = where.connect()
    seen = asyncio.run(look.a_set(server, keys.SetKey(namespace, name)))
    options.noted(seen.notes)
    found = answer(seen, group=group)
    if not seen.decisive:
        options.noted(("Without that, only what the controller says of the set is known here.",))
    options.shown(found, lambda _: blocks(found, now=seen.now), format_)
    sys.stdout.flush()
