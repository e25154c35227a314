"""The table of groups in several clusters: one row each, in words."""

from dataclasses import astuple, dataclass
from typing import Final

from lws_kueue_lab.demo import picture, snapshot, table
from lws_kueue_lab.demo.multikueue import fleet, groups

COLUMNS: Final = (
    "Group",
    "Workload",
    "Quota here",
    "Offered to",
    "Cluster",
    "Pods there",
    "Nodes there",
    "Pod here",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One group in words, in the order of COLUMNS, and the stage that it is in.

    "Here" is the manager, "there" the worker that has the group.
    """

    group: str
    workload: str
    quota: str
    offered_to: str
    cluster: str
    pods: str
    nodes: str
    here: str
    stage: picture.Stage

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the columns."""
        return tuple(str(cell) for cell in astuple(self)[: len(COLUMNS)])


def draw(seen: groups.Snapshot) -> picture.Picture:
    """Return the table of what was seen."""
    return picture.Picture(COLUMNS, tuple(map(_row, seen.groups())), _caption(seen))


def _row(group: groups.Group) -> Row:
    return Row(
        group=str(group.index),
        workload=table.short_name(group.workload),
        quota=table.quota(group.workload),
        offered_to=table.listed(group.offered_to),
        cluster=group.cluster or table.NOTHING,
        pods=f"{group.ready}/{group.size} ready" if group.cluster else table.NOTHING,
        nodes=table.listed(sorted({pod.node for pod in group.there if pod.node})),
        here=_here(group),
        stage="running" if group.runs else "starting" if group.cluster else "waiting",
    )


def _here(group: groups.Group) -> str:
    """Say how the pod is that stands for the group in the manager."""
    if group.leader is None:
        return table.NOTHING
    return f"{'gated' if group.held else 'released'}{', ready' if group.leader.ready else ''}"


def _caption(seen: groups.Snapshot) -> str:
    """Return what each cluster has room for."""
    every = {fleet.MANAGER: seen.manager, **seen.workers}
    told = (
        f"{name} {table.amounts(snapshot.quota(one.cluster_queue))}"
        for name, one in every.items()
        if one.cluster_queue is not None
    )
    return f"Quota: {'; '.join(told)}"
