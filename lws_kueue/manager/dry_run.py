"""`lws-kueue run --dry-run`: what this version would do to each set of a cluster, as text.

Everything is listed once, each set is observed and decided about as always, and no plan is carried
out. So an upgrade can be looked at before it happens.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from lws_kueue.api import actions, reasons
from lws_kueue.api.indices import Indices
from lws_kueue.controller import forecast
from lws_kueue.install import in_force, preflight
from lws_kueue.manager import process
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import build_info, built_in, keys, work_queue

# So many pods of a kind are named; a group may have thousands.
MOST_PODS: Final = 10

_DONE: Final = {
    "create": "created",
    "update": "changed",
    "delete": "deleted",
    "release": "released",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What would become of each set of the cluster at ``server``.

    ``policies`` are the faults of what is installed.
    """

    server: str
    sets: Mapping[keys.SetKey, forecast.Forecast]
    policies: tuple[str, ...] = ()

    @property
    def disturbs(self) -> bool:
        """Whether pods of a set would be replaced or stopped, or nobody can tell."""
        return any(one.disturbs for one in self.sets.values())


async def look(
    settings: configuration.Configuration,
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> Report:
    """Look at a cluster once; nothing is written, and there is neither Lease nor server.

    ``kubeconfig`` and ``context`` are as in ``process.run``.

    Raises:
        preflight.Unfit: the cluster lacks something, with the reason.
        client.ApiError: the API server could not be reached, or refuses the identity.
        client.NoServerError: nothing says where the API server is.
    """
    sys.setrecursionlimit(process.DEEPEST_JSON)
    api = await process.working_client(settings, kubeconfig=kubeconfig, context=context)
    api.may_write = lambda: False
    queue: work_queue.WorkQueue[keys.SetKey] = work_queue.WorkQueue()
    home, worker = process.assembled(settings, api=api, queue=queue, connects=False)
    try:
        await process.patiently(lambda: preflight.check(api))
        await process.patiently(home.informer.list_all)
        found: dict[keys.SetKey, forecast.Forecast] = {}
        left = set(home.store.known_sets())
        while left:
            key = await queue.get()
            try:
                found[key] = forecast.of(*await worker.planned(key))
                left.discard(key)
            except built_in.NotYetKnown:
                pass  # The queue gives it again when that is known.
            finally:
                await queue.done(key)
        return Report(api.server, found, await in_force.faults(api))
    finally:
        await home.informer.close()
        await api.close()


def text(report: Report) -> str:
    """Return a report for people; the order of sets is that of their names."""
    sets = sorted(report.sets.items(), key=lambda one: (one[0].namespace, one[0].name))
    blocks = [
        "\n".join((f"{key.namespace}/{key.name}", *(f"  {line}" for line in _lines(one))))
        for key, one in sets
        if not one.nothing
    ]
    if report.policies:
        faults = (f"  {fault}" for fault in report.policies)
        blocks.append(
            "\n".join(
                (f"What is installed is not what this version needs. {in_force.FIX}:", *faults)
            )
        )
    head = f"A dry run of {_version()} at {report.server}; nothing is written."
    return "\n\n".join((head, *blocks, _summary(report)))


def _version() -> str:
    return build_info.user_agent().replace("/", " ", 1)


def _lines(one: forecast.Forecast) -> Iterator[str]:
    for group in one.replaced:
        yield f"would replace all pods of {_groups(group.groups)}: {group.why}"
    for pods in one.stopped:
        yield f"would stop {_pods(pods.pods)}: {pods.why}"
    if one.undecided:
        yield "cannot be decided because of an error, which the log has; more may follow than this"
    if one.others:
        counted = (
            f"{count} {kind} {_DONE[does]}" for (does, kind), count in sorted(one.others.items())
        )
        yield f"other writes: {', '.join(counted)}"
    yield from (_told(event) for event in one.warnings)


def _groups(groups: Indices) -> str:
    runs = (str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in groups.runs)
    return f"group{'s' if len(groups) > 1 else ''} {', '.join(runs)}"


def _pods(names: tuple[str, ...]) -> str:
    return f"pod{'s' if len(names) > 1 else ''} {reasons.some(names, most=MOST_PODS)}"


def _told(event: actions.Event) -> str:
    return f"would say {event.reason}: {event.message}"


def _summary(report: Report) -> str:
    count = len(report.sets)
    if report.disturbs:
        which = ", ".join(_named(key for key, one in report.sets.items() if one.disturbs))
        return f"Pods would be replaced or stopped. Sets: {which}."
    written = sum(bool(one.others) for one in report.sets.values())
    if written:
        of = f"{written} of {count} sets" if count > 1 else "The set"
        return f"No pod would be replaced or stopped. {of} would be written to."
    return f"Nothing would change. Looked at {count} set{'' if count == 1 else 's'}."


def _named(found: Iterable[keys.SetKey]) -> list[str]:
    return sorted(f"{key.namespace}/{key.name}" for key in found)
