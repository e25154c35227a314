"""The table of groups: one row each, in words."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Final

from lws_kueue.api import kueue, names, quantity
from lws_kueue.workload import state
from lws_kueue_lab.demo import picture, snapshot

COLUMNS: Final = ("Group", "Workload", "State", "Quota", "Gate", "Pods", "Nodes", "Racks")

NOTHING: Final = "-"

# Every Workload of a set of this kind begins with it, so it tells a reader nothing.
_PREFIX: Final = f"{names.LWS_KIND.lower()}-"

_WORDS: Final[Mapping[state.Admission, str]] = {
    state.Admission.PENDING: "pending",
    state.Admission.RESERVED: "quota reserved",
    state.Admission.ADMITTED: "admitted",
    state.Admission.EVICTED: "evicted",
    state.Admission.DEACTIVATED: "deactivated",
    state.Admission.FINISHED: "finished",
    state.Admission.DELETING: "being deleted",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One group in words, in the order of COLUMNS, and the stage that it is in."""

    group: str
    workload: str
    state: str
    quota: str
    gate: str
    pods: str
    nodes: str
    racks: str
    stage: picture.Stage

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the columns."""
        return tuple(str(cell) for cell in astuple(self)[: len(COLUMNS)])


def draw(seen: snapshot.Snapshot) -> picture.Picture:
    """Return the table of what was seen."""
    return picture.Picture(COLUMNS, rows(seen), caption(seen))


def rows(seen: snapshot.Snapshot) -> tuple[Row, ...]:
    """Return a row for each group."""
    return tuple(_row(group, racks=seen.racks) for group in seen.groups())


def caption(seen: snapshot.Snapshot) -> str:
    """Return what the groups share: the queue and its quota."""
    if seen.cluster_queue is None:
        return ""
    name = seen.cluster_queue["metadata"]["name"]
    return f"ClusterQueue {name}: quota {amounts(snapshot.quota(seen.cluster_queue))}"


def amounts(of: Mapping[str, int]) -> str:
    """Return amounts as a reader wants them: "600m cpu", or "8 cpu, 64Gi memory"."""
    return ", ".join(f"{quantity.render(name, of[name])} {name}" for name in sorted(of))


def _row(group: snapshot.Group, *, racks: Mapping[str, str]) -> Row:
    nodes = sorted({pod.node for pod in group.pods if pod.node})
    return Row(
        group=str(group.index),
        workload=short_name(group.workload),
        state=_WORDS[state.admission(group.workload)] if group.workload else NOTHING,
        quota=quota(group.workload),
        gate=_gate(group),
        pods=f"{group.ready}/{group.size} ready",
        nodes=listed(nodes),
        racks=listed(sorted({racks[node] for node in nodes if node in racks})),
        stage="running" if group.runs else "starting" if group.admitted else "waiting",
    )


def short_name(workload: kueue.Workload | None) -> str:
    """Return the name of a Workload, without what all of them begin with."""
    return workload.meta.name.removeprefix(_PREFIX) if workload is not None else NOTHING


def quota(workload: kueue.Workload | None) -> str:
    """Say which quota a Workload has, or else needs."""
    if workload is None:
        return NOTHING
    if given := snapshot.reserved(workload):
        return f"has {amounts(given)}"
    if wanted := snapshot.needed(workload):
        return f"needs {amounts(wanted)}"
    return NOTHING


def _gate(group: snapshot.Group) -> str:
    """Say what is rarer while a group changes: how many are released already."""
    if not group.pods:
        return NOTHING
    released = len(group.pods) - group.held
    if released == 0:
        return f"held {group.held} of {group.size}"
    return f"released {released} of {group.size}"


def listed(texts: Iterable[str]) -> str:
    """Return texts in one cell."""
    return ", ".join(texts) or NOTHING
