"""How the groups of a rollout count, said group by group."""

from collections.abc import Sequence
from dataclasses import dataclass

from lws_kueue.api.indices import Indices
from lws_kueue.controller.rollout import planner


@dataclass(frozen=True, slots=True)
class GroupState:
    """How one group counts: a missing or incomplete one is neither ready nor updated."""

    ready: bool = False
    updated: bool = False


def of(groups: Sequence[GroupState]) -> planner.States:
    """Return the states of the groups from 0 on."""
    return planner.States(
        len(groups),
        ready=Indices(index for index, group in enumerate(groups) if group.ready),
        updated=Indices(index for index, group in enumerate(groups) if group.updated),
    )
