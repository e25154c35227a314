"""What contradicts a set: labels edited by hand, unowned pods in its places, revisions gone bad.

Who belongs to a group is decided by the chain of ownership (``groups``), so nothing here changes a
decision. It is said in a Warning event on the set which object has to be changed, because most of
these cases do not repair themselves: a pod whose labels were edited is orphaned by its StatefulSet
and keeps the name that the pod in its place would need. A set may also contradict itself: it asks
Kueue for one placement and LWS for another.
"""

from collections.abc import Iterator, Mapping
from itertools import chain, islice

from lws_kueue.api import facts, lws, names, numbers
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.admission import plain
from lws_kueue.controller.objects import foreign, name_claims, startup
from lws_kueue.controller.observe import groups, ordinals, scope
from lws_kueue.controller.revision import revisions
from lws_kueue.tas import exclusivity, subgroups

# So many at most at a time; the rest show when these have been dealt with.
MOST_TOLD = 20


def of(at: scope.Scope) -> tuple[Reason, ...]:
    """Return a Warning for each object that contradicts its set."""
    return tuple(islice(_all(at), MOST_TOLD))


def _all(at: scope.Scope) -> Iterator[Reason]:
    owner, found = at.owner, at.found
    yield from _topology(owner) if at.managed_by.gates else plain.held(found)
    if found.leader_set is not None:
        yield from _leader_set(owner, found.leader_set)
    yield from _groups(at)
    yield from _services(at)
    for pod in (*found.former, *found.unowned):
        yield from _outside(owner, pod, found)
    yield from _stateful_sets(at)
    yield from _revisions(at)


def _warning(kind: str, name: str, text: str, *, fix: str = "", field: str) -> Reason:
    """Return the Warning about a ``field`` of an object, of whatever value it has."""
    about = f"{kind} {name}: {field}"
    return Reason(f"Invalid{kind}", f"{kind} {name}: {text}", fix, about=about)


def _labels(kind: str, meta: facts.Meta, wanted: Mapping[str, str | None]) -> Iterator[Reason]:
    """Say which labels of an object are not what they should be; None asks for nothing."""
    for label, value in wanted.items():
        found = meta.labels.get(label)
        if value is not None and found != value:
            text = f"label {label} should be {value!r} and is {found!r}"
            yield _warning(kind, meta.name, text, field=f"label {label}")


# The set itself ---------------------------------------------------------------------------------


def _topology(owner: lws.LeaderWorkerSet) -> Iterator[Reason]:
    """Name what asks Kueue to place pods where LWS's own placement will not have them."""
    if (cut := subgroups.cut(owner.spec)) is not None:
        yield Reason("SubgroupsCutBySlices", str(cut))
    for text in exclusivity.conflicts(owner):
        yield Reason("ExclusiveTopologyMayConflict", text)


# Pods and StatefulSets of the set ---------------------------------------------------------------


def _leader_set(owner: lws.LeaderWorkerSet, leader_set: facts.StatefulSet) -> Iterator[Reason]:
    """Name what somebody edited on the leader StatefulSet; the apply of this pass sets it back."""
    meta = leader_set.meta
    made_with = leader_set.template_labels.get(names.REVISION_KEY)
    yield from _labels(
        "StatefulSet", meta, {names.SET_NAME: owner.meta.name, names.REVISION_KEY: made_with}
    )
    written = meta.annotations.get(names.REPLICAS)
    if written is not None and numbers.natural(written) is None:
        yield _warning(
            "StatefulSet",
            meta.name,
            f"annotation {names.REPLICAS} should be a number and is {written[:40]!r}",
            field=f"annotation {names.REPLICAS}",
        )


def _groups(at: scope.Scope) -> Iterator[Reason]:
    """Name the objects of groups whose labels or annotations contradict their place."""
    set_name, leader_set = at.owner.meta.name, at.found.leader_set
    wanted = leader_set.replicas if leader_set is not None else 0
    known = frozenset({at.choice.key, *map(revisions.key_label, at.own_revisions)})
    told = at.found.each(
        "contradictions",
        lambda group: (
            (
                *_in_group(group, set_name),
                *_revision_of(group, wanted=wanted, known=known),
            )
            or None
        ),
        given=(set_name, wanted, known),
    )
    return chain.from_iterable(told.values())


def _in_group(group: groups.Group, set_name: str) -> Iterator[Reason]:
    leader, worker_set = group.leader.meta, group.worker_set
    # What a StatefulSet selects its pods by cannot be edited, and its template only by replacing
    # its pods; labels of objects can.
    selected = worker_set.selector if worker_set else {}
    made_with = worker_set.template_labels if worker_set else {}
    group_key = selected.get(names.GROUP_KEY) or leader.labels.get(names.GROUP_KEY)
    key = made_with.get(names.REVISION_KEY) or leader.labels.get(names.REVISION_KEY)
    place = {names.SET_NAME: set_name, names.GROUP_INDEX: str(group.index)}
    shared = {**place, names.GROUP_KEY: group_key, names.REVISION_KEY: key}
    yield from _labels("Pod", leader, {**shared, names.WORKER_INDEX: "0"})
    if worker_set is not None:
        yield from _labels("StatefulSet", worker_set.meta, shared)
        if group.rescaled:
            text = f"replicas should be {group.size - 1} and is {worker_set.replicas}"
            yield _warning("StatefulSet", worker_set.meta.name, text, field="replicas")
        yield from foreign.told(worker_set, first=1, set_name=set_name)
    for pod in group.workers:
        ordinal = ordinals.parent_and_ordinal(pod.meta.name)[1]
        yield from _labels("Pod", pod.meta, {**shared, names.WORKER_INDEX: str(ordinal)})
    size = leader.annotations.get(names.SIZE, "")
    if numbers.positive(size) != group.size:
        text = f"annotation {names.SIZE} should be {str(group.size)!r} and is {size[:40]!r}"
        yield _warning("Pod", leader.name, text, field=f"annotation {names.SIZE}")


def _revision_of(group: groups.Group, *, wanted: int, known: frozenset[str]) -> Iterator[Reason]:
    """Name a leader without workers at a revision that there is not; others are told elsewhere.

    The revision of a leader that is about to go may go before it: after a scaling down, those that
    stay may be updated while it still ends.
    """
    stays = group.index < wanted and not group.leader.meta.deleting
    if group.size == 1 and stays and group.key not in known:
        text = (
            f"label {names.REVISION_KEY} is {group.key!r}, and there is no ControllerRevision of "
            "that key"
        )
        fix = "Correct the label, or delete the pod to have it made anew"
        field = f"label {names.REVISION_KEY}"
        yield _warning("Pod", group.leader.meta.name, text, fix=fix, field=field)


# Objects that are in the way, or pretend to belong ----------------------------------------------


def _outside(owner: lws.LeaderWorkerSet, pod: facts.Pod, found: groups.Groups) -> Iterator[Reason]:
    """Name a pod that takes the place of another one, or that only has the labels of one."""
    meta = pod.meta
    if meta.deleting:
        return
    selector = _selector_of_place(owner, meta.name, found)
    if selector is None:
        if (
            not groups.may_belong(owner.meta.name, pod)
            and meta.labels.get(names.SET_NAME) == owner.meta.name
        ):
            text = (
                f"has the label {names.SET_NAME}={owner.meta.name} and does not belong to the set"
            )
            yield _warning("Pod", meta.name, text, fix="Remove the label", field="belongs")
        elif _is_left_over(owner, pod, found):
            text = (
                "was let go by its StatefulSet, and its group is not there any more, so nothing "
                "removes it"
            )
            yield _warning("Pod", meta.name, text, fix="Delete it", field="left over")
        return
    if meta.controller is not None:
        text = (
            f"belongs to {meta.controller.kind} {meta.controller.name} and has the name that a pod "
            "of the set needs"
        )
        if not groups.may_belong(owner.meta.name, pod):
            yield _warning("Pod", meta.name, text, fix="Delete it", field="owner")
        return
    # One with the right labels will be taken back by its StatefulSet.
    for wrong in _labels("Pod", meta, selector):
        text = (
            f"{wrong.message}, so its StatefulSet let it go. Correct the label, or delete the pod"
        )
        yield Reason(wrong.code, text, about=wrong.about)


def _is_left_over(owner: lws.LeaderWorkerSet, pod: facts.Pod, found: groups.Groups) -> bool:
    """Whether a pod without a controller had its place in a group that is wanted no longer."""
    index, leader_set = groups.index_of(owner.meta.name, pod), found.leader_set
    if pod.meta.controller is not None or index is None or leader_set is None:
        return False
    return index >= leader_set.replicas and all(group.index != index for group in found.groups)


def _selector_of_place(
    owner: lws.LeaderWorkerSet, name: str, found: groups.Groups
) -> Mapping[str, str] | None:
    """Return what the StatefulSet that wants a pod of this name selects it by, if there is one."""
    parent, ordinal = ordinals.parent_and_ordinal(name)
    if parent == owner.meta.name:
        leader_set = found.leader_set
        wanted = leader_set is not None and ordinal < leader_set.replicas
        return leader_set.selector if leader_set is not None and wanted else None
    for group in found.groups:
        worker_set = group.worker_set
        if worker_set is not None and worker_set.meta.name == parent:
            return worker_set.selector if 0 < ordinal <= worker_set.replicas else None
    return None


def _stateful_sets(at: scope.Scope) -> Iterator[Reason]:
    """Name StatefulSets that have the set's label and are none of its own or of its past."""
    set_name = at.owner.meta.name

    def claims(_name: str, one: facts.StatefulSet) -> facts.StatefulSet | None:
        past = one.meta.controller is not None and one.meta.controller.kind == "Pod"
        return one if not past and one.meta.labels.get(names.SET_NAME) == set_name else None

    # Most belong to pods. A group that one keeps from its workers says so itself.
    told = at.found.each(
        "kept from workers",
        lambda group: (
            group.foreign_worker_set.meta.uid
            if group.foreign_worker_set and startup.worker_set(at.asked, group).reason
            else None
        ),
        given=(at.asked,),
    )
    claiming = at.seen.memo.each("claim", claims, at.seen.stateful_sets, given=(set_name,))
    for name, other in claiming.items():
        own = other is at.found.leader_set or any(
            group.worker_set is other for group in at.found.groups
        )
        if own or other.meta.uid in told.values():
            continue
        text = f"has the label {names.SET_NAME}={at.owner.meta.name} and does not belong to the set"
        fix = "Remove the label, or delete it"
        yield _warning("StatefulSet", name, text, fix=fix, field="belongs")


# Services ---------------------------------------------------------------------------------------


def _services(at: scope.Scope) -> Iterator[Reason]:
    """Name each Service through which pods of the set cannot be found.

    A Service of the right name is taken as it is, whoever made it (lws-contract 3.4).
    """
    yield from _labels_of_services(at)
    named = set()
    given = (at.owner.meta.name, at.seen.memo.same("services", at.seen.services))
    useless = at.found.each(
        "useless", lambda group: _useless_to(group, *given) or None, given=given
    )
    for found in useless.values():
        for service, why in found:
            if service.meta.name not in named:
                named.add(service.meta.name)
                text = _mended(at.owner, service, why)
                yield _warning("Service", service.meta.name, text, field="pods")


def _useless_to(
    group: groups.Group, set_name: str, services: Mapping[str, facts.Service]
) -> tuple[tuple[facts.Service, str], ...]:
    """Return the Services through which pods of a group cannot be found, each with why."""
    # Labels of the pods that somebody edited are told as such.
    place = {names.SET_NAME: set_name, names.GROUP_INDEX: str(group.index)}
    looked_for = ((services.get(str(pod.spec.get("subdomain") or "")), pod) for pod in group.pods)
    found = (
        (service, _useless(service, pod, labels={**pod.meta.labels, **place}))
        for service, pod in looked_for
        if service is not None
    )
    return tuple((service, why) for service, why in found if why is not None)


def _mended(owner: lws.LeaderWorkerSet, service: facts.Service, why: str) -> str:
    """Say what to do about a Service that does not find the pods: another set's serves that."""
    other = name_claims.rival(service.meta)
    if other is None or other == owner.meta.name:
        return f"{why}. Correct it, or delete it"
    return f"{name_claims.holder(service.meta)} and {why}. {name_claims.remedy(service.meta)}"


def _labels_of_services(at: scope.Scope) -> Iterator[Reason]:
    """Name the set's own Services that lack its label: nobody would notice that they go."""
    own = at.owner.meta.uid
    controlled = [
        (service, service.meta.controller.uid)
        for _, service in sorted(at.seen.services.items())
        if service.meta.controller is not None
    ]
    others = any(uid != own for _, uid in controlled)
    leaders = {group.leader.meta.uid for group in at.found.groups} if others else frozenset[str]()
    for service, uid in controlled:
        if uid == own or uid in leaders:
            yield from _labels("Service", service.meta, {names.SET_NAME: at.owner.meta.name})


def _useless(service: facts.Service, pod: facts.Pod, *, labels: facts.Labels) -> str | None:
    if not service.headless:
        return "is not headless, so the pods of the set have no addresses of their own"
    selector = service.selector
    if selector is None:
        return "has no selector, so the pods of the set have no addresses"
    if any(labels.get(label) != value for label, value in selector.items()):
        return f"does not select pod {pod.meta.name}, which therefore has no address"
    if not service.publishes_not_ready:
        return "does not publish the addresses of pods that are not ready yet"
    return None


# Revisions --------------------------------------------------------------------------------------


def _revisions(at: scope.Scope) -> Iterator[Reason]:
    """Name ControllerRevisions that cannot be used or that hide another one."""
    yield from _unusable(at)
    by_key: dict[str, list[facts.Revision]] = {}
    for revision in at.own_revisions:
        by_key.setdefault(revisions.key_label(revision), []).append(revision)
    for key, same in sorted(by_key.items()):
        if len(same) > 1 and revisions.differ(same):
            used = revisions.highest(same)
            for revision in same:
                if revision is not used:
                    text = f"has the key {key} as well as {used.meta.name if used else ''}, and "
                    text += "holds something else"
                    fix = "Delete the one that is wrong"
                    kind, name = "ControllerRevision", revision.meta.name
                    yield _warning(kind, name, text, fix=fix, field="key")


def _unusable(at: scope.Scope) -> Iterator[Reason]:
    stored = {revisions.key_label(revision) for revision in at.own_revisions}
    set_name, uid = at.owner.meta.name, at.owner.meta.uid

    def concerns(_name: str, revision: facts.Revision) -> facts.Revision | None:
        holder = revision.meta.controller
        foreign = holder is not None and not _of_this_name(set_name, holder)
        return revision if foreign or revisions.is_own(at.owner, revision.meta) else None

    # Most are of the set's StatefulSets.
    odd = at.seen.memo.each("odd revisions", concerns, at.seen.revisions, given=(set_name, uid))
    for name, revision in odd.items():
        meta = revision.meta
        if revisions.is_own(at.owner, meta):
            if (why := revisions.broken(revision)) is not None:
                about = f"ControllerRevision {name}: content"
                yield Reason("InvalidControllerRevision", why, about=about)
            named = revisions.hash_in_name(meta.name)
            # Under another key than its name tells it may be a back-filled one, unless its own
            # key is missed.
            missed = named == at.choice.key and named not in stored
            wanted = {
                names.SET_NAME: at.owner.meta.name,
                names.REVISION_KEY: named if missed else None,
            }
            yield from _labels("ControllerRevision", meta, wanted)
        elif meta.controller is not None:
            text = (
                f"has the label {names.SET_NAME}={at.owner.meta.name} and belongs to "
                f"{meta.controller.kind} {meta.controller.name}"
            )
            fix = "Remove the label"
            yield _warning("ControllerRevision", name, text, fix=fix, field="belongs")


def _of_this_name(set_name: str, controller: facts.Owner) -> bool:
    """Whether a revision's owner is the set, a former one, or one of their StatefulSets.

    The StatefulSet controller gives the revisions that it makes the labels of the template, so
    those of all StatefulSets of a set have its label.
    """
    parent, _ = ordinals.parent_and_ordinal(controller.name)
    if controller.kind == "StatefulSet":
        return set_name in (controller.name, parent)
    return (controller.kind, controller.name) == (names.LWS_KIND, set_name)
