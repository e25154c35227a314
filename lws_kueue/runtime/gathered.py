"""What a cache knows of a set, as the value that decisions are made on.

The controller's cache is kept up to date by watches, that of a command is filled once; a decision
does not know the difference.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from lws_kueue.api import facts, lws, memos
from lws_kueue.controller.observe import groups, observed, ordinals
from lws_kueue.runtime import cache, keys, resources


def of(
    store: cache.Cache,
    key: keys.SetKey,
    live: lws.LeaderWorkerSet | None,
    *,
    support: observed.Support,
    detail: str,
    gang: bool,
    memo: groups.Memo,
    **remembered: Any,
) -> observed.Observed:
    """Return what is known of a set, which is ``live`` unless it is gone or cannot be read.

    ``support`` and ``detail`` say what Kueue is, ``gang`` that Volcano schedules groups.
    ``memo`` is that of the set, and ``remembered`` are fields of what is observed that are known
    from earlier looks.
    """
    pods = dict(store.of_set(key, resources.PODS))
    leaders = leaders_in(pods, key, memo=memo)
    return observed.Observed(
        namespace=key.namespace,
        name=key.name,
        lws=live,
        kueue=_kueue(store, key.namespace, live, support=support, detail=detail),
        stateful_sets=by_name(store, key, resources.STATEFUL_SETS, leaders=leaders),
        pods=pods,
        services=by_name(store, key, resources.SERVICES, leaders=leaders),
        revisions=dict(store.of_set(key, resources.REVISIONS)),
        workloads=dict(store.of_set(key, resources.WORKLOADS)),
        limit_ranges=_named(store, resources.LIMIT_RANGES, namespace=key.namespace),
        runtime_classes=_named(store, resources.RUNTIME_CLASSES),
        pod_groups=dict(store.of_set(key, resources.POD_GROUPS)) if gang else None,
        memo=memo,
        **remembered,
    )


def _kueue(
    store: cache.Cache,
    namespace: str,
    live: lws.LeaderWorkerSet | None,
    *,
    support: observed.Support,
    detail: str,
) -> observed.Kueue:
    holder = live.meta.controller if live else None
    return observed.Kueue(
        support=support,
        detail=detail,
        of_owner=store.owned_by(resources.WORKLOADS, holder.uid) if holder else (),
        local_queues=_named(store, resources.LOCAL_QUEUES, namespace=namespace),
        cluster_queues=_named(store, resources.CLUSTER_QUEUES),
        flavors=_named(store, resources.FLAVORS),
        workload_priority_classes=_named(store, resources.WORKLOAD_PRIORITY_CLASSES),
        priority_classes=_named(store, resources.PRIORITY_CLASSES),
        admission_checks=_named(store, resources.ADMISSION_CHECKS),
    )


def _named(
    store: cache.Cache, resource: resources.Resource, *, namespace: str = ""
) -> dict[str, Any]:
    """Return the facts of a kind by name, in a namespace or in the cluster."""
    return {
        fact.meta.name: fact for fact in store.all(resource) if fact.meta.namespace == namespace
    }


def leaders_in(
    pods: Mapping[str, facts.Pod], key: keys.SetKey, *, memo: memos.Memo
) -> Collection[str]:
    """Return the names of leaders among the pods of a set."""

    def leads(name: str, _: facts.Pod) -> Literal[True] | None:
        return True if ordinals.parent_and_ordinal(name)[0] == key.name else None

    return memo.each("leaders", leads, pods, given=(key.name,))


def by_name(
    store: cache.Cache,
    key: keys.SetKey,
    resource: resources.Resource,
    *,
    leaders: Iterable[str],
) -> dict[str, Any]:
    """Return the facts of one kind that belong to a set, or have a name that it needs.

    Those are the set's own name, for its leaders, and those of its leader pods, for their
    groups; the objects may be another set's.
    """
    own = store.of_set(key, resource)
    needed = (name for name in (key.name, *leaders) if name not in own)
    return {**store.named(resource, needed, namespace=key.namespace), **own}
