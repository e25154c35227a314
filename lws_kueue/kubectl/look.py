"""One look at a set and at what surrounds it, with the rights of the person who asks.

All kinds are listed beside each other, and the set is put together of that as the controller does
(`runtime.gathered`). What may not be read is missing, and `Seen.lacking` says so.
"""

import asyncio
import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lws_kueue.api import facts, kueue, lws, names
from lws_kueue.controller import decide, repairs
from lws_kueue.controller.admission import managed_by, shortages, waiting
from lws_kueue.controller.observe import groups, observed
from lws_kueue.kubectl import connection, reading
from lws_kueue.runtime import (
    asking,
    built_in,
    cache,
    gathered,
    keys,
    kueue_support,
    refusals,
    resources,
)
from lws_kueue.workload import group_mark

Object = dict[str, Any]

COHORTS: Final = resources.Resource(names.KUEUE_API_VERSION, "Cohort", "cohorts", namespaced=False)
TOPOLOGIES: Final = resources.Resource(
    names.KUEUE_API_VERSION, "Topology", "topologies", namespaced=False
)
_VISIBILITY: Final = "/apis/visibility.kueue.x-k8s.io/v1beta2"

_OF_SET: Final = (
    resources.STATEFUL_SETS,
    resources.REVISIONS,
    resources.PODS,
    resources.SERVICES,
)
# Without one of these a decision says something that is not so.
_DECISIVE: Final = frozenset({*resources.PLAIN, *resources.KUEUE} - {resources.CLUSTER_QUEUES})
_QUEUES: Final = (*resources.KUEUE, COHORTS, TOPOLOGIES)
# These are the cluster's, or asked for in all namespaces where that is allowed.
_EVERYWHERE: Final = (resources.WORKLOADS, resources.LOCAL_QUEUES)


@dataclass(frozen=True)
class Seen:
    """What was read; ``observed`` is the set, ``stored`` are objects as they are stored, by kind.

    ``lacking`` are the kinds that may not be read, and ``partly`` those of which only the objects
    of the set's namespace may. ``pending`` is what Kueue's visibility API tells of the ClusterQueue
    of the set, None where it tells nothing.
    """

    observed: observed.Observed
    now: datetime.datetime
    stored: Mapping[resources.Resource, Sequence[Object]] = field(default_factory=dict)
    lacking: tuple[resources.Resource, ...] = ()
    partly: tuple[resources.Resource, ...] = ()
    pending: Sequence[Object] | None = None

    @property
    def decisive(self) -> bool:
        """Whether enough was read for what the controller decides to be decided here."""
        return not _DECISIVE & {*self.lacking}

    def of(self, resource: resources.Resource) -> Sequence[Object]:
        """Return the objects of a kind as they are stored, of all namespaces that may be read."""
        return self.stored.get(resource, ())

    def named(self, resource: resources.Resource, name: str) -> Object | None:
        """Return an object of the cluster, None if it is not there or may not be read."""
        return next((one for one in self.of(resource) if one["metadata"]["name"] == name), None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing here because of the rights of whoever asks, each as one line."""
        return reading.told(self.lacking, self.partly, self.observed.namespace)


async def a_set(
    server: connection.Connection, key: keys.SetKey, *, instead: Object | None = None
) -> Seen:
    """Look at one set; ``instead`` is taken for it where there is none.

    Raises:
        reading.NotFoundError: there is no such set.
        asking.ApiError: the API server refuses to show it, or did not answer.
    """
    reader = reading.Reader(server)
    live, (support, detail), stored, nodes = await asyncio.gather(
        server.get(resources.SETS, namespace=key.namespace, name=key.name),
        kueue_support.probe(server),
        _everything(reader, key),
        reader.listed(resources.NODES),
    )
    live = live or instead
    if live is None:
        raise reading.NotFoundError(
            f"LeaderWorkerSet {key.name} is not in namespace {key.namespace}: kubectl lws get -A"
            " shows those that there are"
        )
    seen = of(live, stored, key=key, support=support, detail=detail, nodes=nodes)
    known = await _looked_up(server, seen.observed)
    pending = await _pending(server, known)
    return dataclasses.replace(
        seen,
        observed=known,
        pending=pending,
        lacking=tuple(dict.fromkeys(reader.lacking)),
        partly=tuple(dict.fromkeys(reader.partly)),
    )


def of(
    live: Object,
    stored: Mapping[resources.Resource, Sequence[Object]],
    *,
    key: keys.SetKey,
    support: observed.Support = "served",
    detail: str = "",
    nodes: Sequence[Object] = (),
    now: datetime.datetime | None = None,
) -> Seen:
    """Put together what was read of a set."""
    store = cache.Cache()
    store.upsert(resources.SETS, live)
    for resource in (*resources.PLAIN, *resources.KUEUE):
        store.renewal(resource).take(stored.get(resource, ()))
    parsed = store.get(resources.SETS, namespace=key.namespace, name=key.name)
    now = now or datetime.datetime.now(datetime.UTC)
    valid = parsed if isinstance(parsed, lws.LeaderWorkerSet) else None
    found = gathered.of(
        store,
        key,
        valid,
        support=support,
        detail=detail,
        gang=False,
        memo=groups.Memo(),
        invalid=None if valid else parsed,
        attempts=repairs.Attempts.of(valid, now=now),
        nodes={node["metadata"]["name"]: facts.Node.of(node) for node in nodes},
    )
    return Seen(found, now, {**stored, resources.NODES: nodes, resources.SETS: (live,)})


async def _everything(
    reader: reading.Reader, key: keys.SetKey
) -> dict[resources.Resource, list[Object]]:
    selector = f"{names.SET_NAME}={key.name}"
    single = [
        resources.PRIORITY_CLASSES,
        resources.RUNTIME_CLASSES,
        *(kind for kind in _QUEUES if kind not in _EVERYWHERE),
    ]
    of_set = (
        reader.listed(kind, namespace=key.namespace, label_selector=selector) for kind in _OF_SET
    )
    lists = await asyncio.gather(
        *of_set,
        reader.listed(resources.LIMIT_RANGES, namespace=key.namespace),
        *(reader.widely(kind, namespace=key.namespace) for kind in _EVERYWHERE),
        *(reader.listed(kind) for kind in single),
    )
    kinds = (*_OF_SET, resources.LIMIT_RANGES, *_EVERYWHERE, *single)
    found = dict(zip(kinds, lists, strict=True))
    # An object of another owner may have the set's name without its label.
    for kind in (resources.STATEFUL_SETS, resources.SERVICES):
        if not any(one["metadata"]["name"] == key.name for one in found[kind]):
            found[kind] += await _named(reader, kind, key)
    return found


async def _named(
    reader: reading.Reader, resource: resources.Resource, key: keys.SetKey
) -> list[Object]:
    if resource in reader.lacking:
        return []
    try:
        one = await reader.server.get(resource, namespace=key.namespace, name=key.name)
    except asking.ApiError as error:
        if error.status != 403:
            raise
        return []
    return [one] if one is not None else []


async def _looked_up(server: connection.Connection, seen: observed.Observed) -> observed.Observed:
    """Return what is observed with what is asked for where it matters only."""
    if seen.lws is not None and seen.kueue.support == "served" and _depends(seen, seen.lws):
        tried = built_in.BuiltIn(server)
        await tried.look((seen.namespace,))
        seen = with_built_in(seen, tried.of(seen.namespace), trouble=tried.trouble(seen.namespace))
    gone: dict[str, facts.Node | None] = {
        name: None for name in decide.nodes_asked(seen) if seen.nodes and name not in seen.nodes
    }
    seen = seen.looked_up(nodes={**seen.nodes, **gone})
    if short := shortages.asked(seen):
        seen = seen.looked_up(refusals=await refusals.Refusals(server).of(short))
    return seen


def _depends(seen: observed.Observed, owner: lws.LeaderWorkerSet) -> bool:
    """Whether it matters if Kueue's own integration is on."""
    return managed_by.is_marked(owner) or bool(waiting.dispatcher(seen, owner))


def with_built_in(
    seen: observed.Observed, answer: bool | None, *, trouble: str = ""
) -> observed.Observed:
    """Return what is observed with what a try has told of Kueue's own integration.

    Who may not create sets cannot try it, and is told nothing. A set without its mark, of which it
    has no Workload either, has come and lived while it was off.
    """
    if answer is None and seen.lws is not None and not managed_by.is_marked(seen.lws):
        adopted = any(group_mark.is_given(one) for one in seen.workloads.values())
        answer = None if adopted else False
    told = dataclasses.replace(seen.kueue, built_in=answer, built_in_trouble=trouble)
    return dataclasses.replace(seen, kueue=told)


async def _pending(server: connection.Connection, seen: observed.Observed) -> list[Object] | None:
    """Return what waits in the set's ClusterQueue, in its order, where Kueue tells it."""
    queue = seen.kueue.local_queues.get(seen.lws.queue_name) if seen.lws else None
    if queue is None or not any(_waits(one) for one in seen.workloads.values()):
        return None
    try:
        answer = await server.request(
            "GET", f"{_VISIBILITY}/clusterqueues/{queue.cluster_queue}/pendingworkloads"
        )
    except asking.ApiError:
        return None
    return list(answer.get("items") or ())


def _waits(workload: kueue.Workload) -> bool:
    return not workload.is_true("QuotaReserved") and not workload.meta.deleting


HOST: Final = "kubernetes.io/hostname"


def topologies(seen: Seen, flavors: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return the topologies of flavors, each with its levels, top down."""
    found = {one["metadata"]["name"]: one for one in seen.of(TOPOLOGIES)}
    chosen = frozenset(flavors)
    used = dict.fromkeys(
        str((flavor.get("spec") or {}).get("topologyName") or "")
        for flavor in seen.of(resources.FLAVORS)
        if flavor["metadata"]["name"] in chosen
    )
    for name in used:
        if name in found:
            yield name, _levels(found[name])


def _levels(topology: Object) -> tuple[str, ...]:
    return tuple(str(one["nodeLabel"]) for one in (topology.get("spec") or {}).get("levels") or ())


def levels(seen: Seen) -> tuple[str, ...]:
    """Return the levels of the topology that flavors of the set's ClusterQueue have, top down.

    Without any they are those of all topologies, because a set may run beside them; only hosts if
    there are none.
    """
    used = [own for _, own in topologies(seen, _flavors(seen))]
    chosen = used or [_levels(one) for one in seen.of(TOPOLOGIES)]
    return chosen[0] if chosen else (HOST,)


def _flavors(seen: Seen) -> frozenset[str]:
    admissions = (one.status.admission for one in seen.observed.workloads.values())
    return frozenset(
        name
        for admission in admissions
        if admission is not None
        for part in admission.pod_set_assignments
        for name in part.flavors.values()
    )
