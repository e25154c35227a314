"""From the cache to the one value that a decision is made on."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lws_kueue.api import lws
from lws_kueue.controller import repairs
from lws_kueue.controller.observe import members, observed, ordinals
from lws_kueue.runtime import cache, keys, resources


def gather(
    store: cache.Cache,
    key: keys.SetKey,
    *,
    support: observed.Support,
    detail: str,
    built_in: bool | None = None,
    remembered: Mapping[int, members.Members],
    unwritten: tuple[lws.Condition, ...] | None = None,
    attempts: repairs.Attempts | None = None,
    gang: bool = False,
    takes_unlabelled: bool = False,
) -> observed.Observed | cache.InvalidSet:
    """Return everything known of a set, or the set itself when its spec cannot be read.

    ``gang`` says that Volcano schedules groups, ``takes_unlabelled`` that sets without a queue wait
    for Kueue in this namespace; ``unwritten`` are conditions not written yet, ``attempts`` the
    writes of the last minutes. The mappings are
    snapshots, so events that arrive while the plan is carried out do not show.
    """
    live = store.get(resources.SETS, namespace=key.namespace, name=key.name)
    if isinstance(live, cache.InvalidSet):
        return live
    return observed.Observed(
        namespace=key.namespace,
        name=key.name,
        lws=live,
        kueue=dataclasses.replace(
            _kueue(store, key.namespace, support=support, detail=detail, built_in=built_in),
            takes_unlabelled=takes_unlabelled,
        ),
        stateful_sets=by_name(store, key, resources.STATEFUL_SETS),
        pods=dict(store.of_set(key, resources.PODS)),
        services=by_name(store, key, resources.SERVICES),
        revisions=dict(store.of_set(key, resources.REVISIONS)),
        workloads=dict(store.of_set(key, resources.WORKLOADS)),
        limit_ranges={
            one.meta.name: one
            for one in store.all(resources.LIMIT_RANGES)
            if one.meta.namespace == key.namespace
        },
        runtime_classes={one.meta.name: one for one in store.all(resources.RUNTIME_CLASSES)},
        pod_groups=dict(store.of_set(key, resources.POD_GROUPS)) if gang else None,
        remembered=remembered,
        unwritten=unwritten,
        attempts=repairs.Attempts() if attempts is None else attempts,
    )


def by_name(store: cache.Cache, key: keys.SetKey, resource: resources.Resource) -> dict[str, Any]:
    """Return the facts of one kind that belong to a set, or have a name that it needs.

    Those are the set's own name, for its leaders, and those of its leader pods, for their
    groups; the objects may be another set's.
    """
    leaders = (
        name
        for name in store.of_set(key, resources.PODS)
        if ordinals.parent_and_ordinal(name)[0] == key.name
    )
    needed = (key.name, *leaders)
    found = {name: store.get(resource, namespace=key.namespace, name=name) for name in needed}
    named = {name: fact for name, fact in found.items() if fact is not None}
    return {**named, **store.of_set(key, resource)}


def _kueue(
    store: cache.Cache,
    namespace: str,
    *,
    support: observed.Support,
    detail: str,
    built_in: bool | None,
) -> observed.Kueue:
    return observed.Kueue(
        support=support,
        detail=detail,
        built_in=built_in,
        local_queues={
            queue.meta.name: queue
            for queue in store.all(resources.LOCAL_QUEUES)
            if queue.meta.namespace == namespace
        },
        cluster_queues={q.meta.name: q for q in store.all(resources.CLUSTER_QUEUES)},
        flavors={f.meta.name: f for f in store.all(resources.FLAVORS)},
        workload_priority_classes={
            c.meta.name: c for c in store.all(resources.WORKLOAD_PRIORITY_CLASSES)
        },
        priority_classes={c.meta.name: c for c in store.all(resources.PRIORITY_CLASSES)},
        admission_checks={c.meta.name: c for c in store.all(resources.ADMISSION_CHECKS)},
    )
