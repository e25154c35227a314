"""What a set says of where its groups are."""

from collections.abc import Iterable
from typing import Final

from lws_kueue.api import lws, reasons
from lws_kueue.dispatch import places

CONDITION: Final = "Dispatched"
# The cluster of one group stands in its Workload at any time.
_MOST_TOLD: Final = 4096


def condition(views: Iterable[places.View]) -> lws.Condition:
    """Return the condition that names the cluster of each group that the set wants."""
    where: dict[str, list[int]] = {}
    for view in views:
        if view.group.wanted:
            where.setdefault(view.home, []).append(view.id.index)
    told = [f"{reasons.numbered(indices)}: {name or 'none'}" for name, indices in where.items()]
    all_placed = "" not in where
    return lws.Condition(
        type=CONDITION,
        status="True" if all_placed else "False",
        reason="AllGroupsPlaced" if all_placed else "GroupsNotPlaced",
        message=reasons.shortened("; ".join(told), most=_MOST_TOLD),
    )
