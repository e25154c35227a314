"""What the API server refuses of a plan: it is told for as long as it lasts.

What was answered to a write is remembered (``controller.repairs``). It is told while the plan
still wants that write: in a Warning, and by the groups that wait for it in their condition, where
it takes the place of whatever they would wait for otherwise. That would be wrong: an object that is
refused is not "being made". A group that runs waits for nothing; there the Warning tells.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from lws_kueue.api import actions, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.controller import repairs
from lws_kueue.controller.admission import admissions
from lws_kueue.controller.observe import scope
from lws_kueue.workload import build, naming

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

    @property
    def reason(self) -> Reason:
        what = f"{self.ref.kind} {self.ref.name}"
        text = f"the API server refuses to {self.does} {what}: {self.message}"
        return Reason(self.code, text)


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
    options: build.Options,
) -> tuple[Reason, ...]:
    """Return why groups wait: for what is refused, or else the reasons of ``bridged``.

    The writes are those of ``bridged`` and of ``others``.
    """
    parts = (*others, bridged)
    refused = [one for part in parts for one in _refused(part, at.seen.attempts)]
    if not refused:
        return bridged.reasons
    waiting = frozenset(i for reason in bridged.reasons if reason.waits for i in reason.groups)
    concerned = _Concerned(at, admitted, waiting, options)
    by_group: dict[int, Reason] = {}
    for one in refused:
        why = replace(one.reason, waits=True, warns=False)
        for index in concerned.groups(one):
            by_group.setdefault(index, why.of(index))
    rest = (reasons.without(reason, by_group) for reason in bridged.reasons)
    return (*reasons.merged(by_group.values()), *(one for one in rest if one is not None))


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
            yield _Refused(key.ref, does, code, refusal.message)


def keys(plan: actions.Plan) -> frozenset[actions.WriteKey]:
    """Return what a plan wants written, now or later."""
    return frozenset(actions.key_of(write) for write, _ in single_writes(plan)) | {*plan.held}


class _Concerned:
    """Knows which groups wait for an object."""

    def __init__(
        self,
        at: scope.Scope,
        admitted: admissions.Admissions,
        waiting: frozenset[int],
        options: build.Options,
    ) -> None:
        meta, own = at.owner.meta, {group.index: group for group in at.found.groups}
        self._leader_set = meta.name
        self._waiting = waiting
        self._new = [
            index
            for index in sorted(waiting)
            if index not in own or not own[index].updated(at.choice.key)
        ]
        self._leaders = {group.leader.meta.name: index for index, group in own.items()}
        self._pods = {pod.meta.name: index for index, pods in admitted.pods.items() for pod in pods}
        short = options.short_names
        self._workloads = {naming.of_group(meta, i, short=short): i for i in waiting} | {
            workload.meta.name: index for index, workload in admitted.workloads.items()
        }

    def groups(self, refused: _Refused) -> Collection[int]:
        """Return the groups that wait for a write."""
        kind, name = refused.ref.kind, refused.ref.name
        if kind == "ControllerRevision" or (kind, name) == ("StatefulSet", self._leader_set):
            return self._new
        index = {
            "Pod": self._pods,
            "Workload": self._workloads,
            "StatefulSet": self._leaders if refused.does == "create" else {},
        }.get(kind, {}).get(name)
        if index is None or (refused.does != "release" and index not in self._waiting):
            return ()
        return (index,)
