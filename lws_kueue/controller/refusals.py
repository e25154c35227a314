"""What the API server refuses of a plan: it is told for as long as it lasts.

What was answered to a write is remembered (``controller.repairs``). It is told while the plan
still wants that write: in a Warning, and by the groups that wait for it in their condition, where
it takes the place of whatever they would wait for otherwise. That would be wrong: an object that is
refused is not "being made". A group that runs waits for nothing; there the Warning tells.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from lws_kueue.api import actions, names, reasons
from lws_kueue.api.indices import Indices
from lws_kueue.api.reasons import Reason
from lws_kueue.controller import repairs
from lws_kueue.controller.admission import admissions
from lws_kueue.controller.observe import scope

# What is told of a write that names no reason of its own.
_CODES = {
    "create": "FailedCreate",
    "update": "FailedUpdate",
    "delete": "FailedDelete",
    "release": "ReleaseRefused",
}


@dataclass(frozen=True, slots=True)
class _Refused:
    ref: actions.Ref
    does: str
    code: str
    message: str
    group: int | None = None
    """Of a Workload that is to be made."""

    @property
    def reason(self) -> Reason:
        what = f"{self.ref.kind} {self.ref.name}"
        text = f"the API server refuses to {self.does} {what}: {self.message}"
        return Reason(self.code, text, about=f"{self.does} {what}")


def told(plan: actions.Plan, attempts: repairs.Attempts) -> actions.Plan:
    """Return a plan with a Warning for the first object of each kind that is refused the same."""
    found: dict[tuple[str, str], Reason] = {}
    for refused in _refused(plan, attempts):
        found.setdefault((refused.ref.kind, refused.does), refused.reason)
    return replace(plan, reasons=(*plan.reasons, *found.values())) if found else plan


def explained(
    at: scope.Scope,
    admitted: admissions.Admissions,
    bridged: actions.Part,
    *,
    others: Iterable[actions.Part],
) -> tuple[Reason, ...]:
    """Return why groups wait: for what is refused, or else the reasons of ``bridged``.

    The writes are those of ``bridged`` and of ``others``.
    """
    parts = (*others, bridged)
    refused = [one for part in parts for one in _refused(part, at.seen.attempts)]
    if not refused:
        return bridged.reasons
    waits = (Indices(reason.groups) for reason in bridged.reasons if reason.waits)
    concerned = _Concerned(at, admitted, reduce(or_, waits, Indices()))
    told = Indices()
    found: list[Reason] = []
    for one in refused:
        groups = concerned.groups(one) - told
        if groups:
            told |= groups
            found.append(replace(one.reason, waits=True, warns=False, groups=groups))
    rest = (reasons.without(reason, told) for reason in bridged.reasons)
    return (*reasons.merged(found), *(one for one in rest if one is not None))


def single_writes(plan: actions.Plan | actions.Part) -> Iterator[tuple[repairs.Write, str]]:
    """Yield the single writes of a plan, each with what it does to its object."""
    for chain in (plan.prepare, *plan.chains, plan.finish):
        for action in chain:
            match action:
                case actions.Release(patches=patches):
                    yield from ((patch, "release") for patch in patches)
                case actions.Create() | actions.Apply(force=False):
                    yield action, "create"
                case actions.Delete():
                    yield action, "delete"
                case _:
                    yield action, "update"
    if plan.status is not None:
        yield plan.status, "update"


def _refused(plan: actions.Plan | actions.Part, attempts: repairs.Attempts) -> Iterator[_Refused]:
    if not attempts.refuses:
        return
    for write, does in single_writes(plan):
        key = actions.key_of(write)
        if (refusal := attempts.refusal(key)) is not None:
            code = getattr(write, "on_failure", "") or _CODES[does]
            yield _Refused(key.ref, does, code, refusal.message, _group_of(write))


def _group_of(write: repairs.Write) -> int | None:
    """Return the group of a Workload that is to be made, None for everything else."""
    if not isinstance(write, actions.Create) or write.body["kind"] != "Workload":
        return None
    return int(write.body["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX])


def keys(plan: actions.Plan) -> frozenset[actions.WriteKey]:
    """Return what a plan wants written, now or later."""
    return frozenset(actions.key_of(write) for write, _ in single_writes(plan)) | {*plan.held}


class _Concerned:
    """Knows which groups wait for an object."""

    def __init__(self, at: scope.Scope, admitted: admissions.Admissions, waiting: Indices) -> None:
        self._leader_set = at.owner.meta.name
        self._waiting = waiting
        groups = at.found.groups
        key = at.choice.key
        self._new = waiting - [group.index for group in groups if group.updated(key)]
        self._leaders = {group.leader.meta.name: group.index for group in groups}
        self._pods = {pod.meta.name: index for index, pods in admitted.pods.items() for pod in pods}
        self._workloads = {one.meta.name: index for index, one in admitted.workloads.items()}

    def groups(self, refused: _Refused) -> Indices:
        """Return the groups that wait for a write."""
        kind, name = refused.ref.kind, refused.ref.name
        if kind == "ControllerRevision" or (kind, name) == ("StatefulSet", self._leader_set):
            return self._new
        index = {
            "Pod": self._pods,
            "Workload": self._workloads,
            "StatefulSet": self._leaders if refused.does == "create" else {},
        }.get(kind, {}).get(name, refused.group)
        if index is None or (refused.does != "release" and index not in self._waiting):
            return Indices()
        return Indices([index])
