"""Why groups wait whose Workload is made again only later, because it did not stay (``repairs``).

Nothing "is being created" then. Who deletes a Workload again and again is to be told from the set
for how long its groups go without one.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from lws_kueue.api import actions, names, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.controller import repairs
from lws_kueue.controller.observe import observed

MISSING: Final = "WorkloadMissing"


def explained(
    whys: Collection[Reason], bridged: actions.Part, *, seen: observed.Observed, now: datetime
) -> tuple[Reason, ...]:
    """Return why groups wait: ``whys``, but for those whose Workload has a pause.

    ``bridged`` has the writes that make Workloads.
    """
    if not any(why.code == MISSING for why in whys):
        return tuple(whys)
    held = dict(_held(bridged, seen, now=now))
    groups: set[int] = set()
    rest: list[Reason] = []
    for why in whys:
        concerned = held.keys() & set(why.groups) if held and why.code == MISSING else set()
        left = reasons.without(why, concerned) if concerned else why
        groups |= concerned
        rest += [left] if left is not None else []
    if not groups:
        return tuple(rest)
    soonest = min(held[index][1] for index in groups)
    workloads = {held[index][0] for index in groups}
    return (_reason(groups, workloads, seen.attempts, soonest=soonest, now=now), *rest)


def _held(
    bridged: actions.Part, seen: observed.Observed, *, now: datetime
) -> Iterator[tuple[int, tuple[str, float]]]:
    """Yield the groups whose Workload has a pause, with its name and the seconds that are left."""
    occasion = seen.attempts.occasion(seen.lws)
    for chain in bridged.chains:
        for write in chain:
            if not isinstance(write, actions.Create) or write.body["kind"] != "Workload":
                continue
            if (left := seen.attempts.wait(write, occasion=occasion, now=now)) > 0:
                meta = write.body["metadata"]
                index = int(meta["annotations"][names.COMPONENT_WORKLOAD_INDEX])
                yield index, (meta["name"], left)


def _reason(
    groups: Collection[int],
    workloads: Collection[str],
    attempts: repairs.Attempts,
    *,
    soonest: float,
    now: datetime,
) -> Reason:
    """Return why ``groups`` have no Workload; the first is made again in ``soonest`` seconds."""
    # Up to the next second, so that it is not said to be late.
    at = (now + timedelta(seconds=soonest, milliseconds=999)).astimezone(UTC)
    text = (
        "its Workload was gone again each time it was made, and is not made again before"
        f" {at:%Y-%m-%dT%H:%M:%SZ}"
    )
    causes = [cause for _, cause in attempts.causes(now)]
    if any(cause.startswith(f"Workload {name} ") for name in workloads for cause in causes):
        text += f"; {repairs.BACK_OFF} says more"
    return Reason(
        MISSING,
        text,
        groups=tuple(sorted(groups)),
        waits=True,
        warns=False,
        about="its Workload has a pause",
    )
