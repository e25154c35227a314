"""`kubectl lws whatif`: which groups would run with other replicas, another set or other quota.

What is there is put into a simulated Kueue (`lws_kueue.simulator`), changed there, and left to come
to rest. Nothing is written.
"""

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click

from lws_kueue.api import kueue, lws, names, quantity
from lws_kueue.api.reasons import Reason, numbered
from lws_kueue.controller.revision import revisions
from lws_kueue.controller.rollout import scaling
from lws_kueue.kubectl import connection, decided, garbage, look, options, reading, screen
from lws_kueue.runtime import cache, keys, resources
from lws_kueue.simulator import completion, flavors, nodes, objects, scheduler, snapshot
from lws_kueue.workload import build, diff, naming, shape

Object = dict[str, Any]
State = Literal["", "runs", "waits", "displaced", "gone"]

# What is said of every answer.
NOT_MODELLED: Final = (
    "nodes, where a flavor has no topology: an admitted group may find none that takes its pods",
    "admission checks, fair sharing, partial admission, and what Kueue's configuration says"
    " (waitForPodsReady, transformed and excluded resources)",
    "what else comes, ends or changes meanwhile; who is displaced is taken to stop at once and to"
    " queue again",
    "the order of groups that ask in the same second: so many run, but it may be others",
)
_SURGE: Final = (
    "surge groups: while the set is updated, up to {most} more than its replicas (maxSurge) ask for"
    " quota as well"
)
_UPDATE: Final = "the update on the way to the other template: all groups are asked for anew"
_FOREIGN: Final = (
    "Workloads of other namespaces, which you may not read: their usage counts, but they neither"
    " wait nor can be displaced"
)
_NEEDED: Final = frozenset(
    {
        resources.CLUSTER_QUEUES,
        look.COHORTS,
        resources.FLAVORS,
        resources.LOCAL_QUEUES,
        resources.WORKLOADS,
    }
)
_ROLE: Final = f"the ClusterRole {reading.ROLE} allows it"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be otherwise: the number of groups, the set, or quota by queue and kind."""

    replicas: int | None = None
    manifest: Object | None = None
    quotas: Mapping[tuple[str, str, str], str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lack:
    """What a group would need more; ``limited_by`` is the field that bounds it, or "cohort".

    ``ever`` says that the queue can never have as much.
    """

    flavor: str
    resource: str
    amount: str
    limited_by: str
    ever: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group as it is ``now`` and ``then``; ``displaces`` are Workloads that have to go for it."""

    index: int
    now: State
    then: State
    flavors: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    lacks: tuple[Lack, ...] = ()
    why: str = ""
    displaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What would become of a set; ``displaced`` are Workloads of others that lose their quota.

    ``settled`` is False where Workloads would displace each other without an end.
    """

    namespace: str
    name: str
    change: tuple[str, ...]
    running: int
    replicas: int
    groups: tuple[Group, ...]
    displaced: tuple[str, ...] = ()
    settled: bool = True
    not_modelled: tuple[str, ...] = NOT_MODELLED


def answer(seen: look.Seen, change: Change, *, pods: Sequence[Object] = ()) -> Answer:
    """Return what would follow from a change; ``pods`` are those of the cluster that take room.

    Raises:
        LookupError: quota is changed that there is not.
        ValueError: the set cannot be read, names no queue, or not enough may be read.
    """
    return _Question(seen, change, pods).answer()


class _Question:
    """A set, what is around it, and what is to be otherwise."""

    def __init__(self, seen: look.Seen, change: Change, pods: Sequence[Object]) -> None:
        self.seen = seen
        self.change = change
        self.live = _readable(seen)
        self.wanted = _changed(self.live, change)
        if not self.wanted.queue_name:
            raise ValueError(
                f"{self.wanted.meta.name} names no queue, so its groups wait for no quota: give it"
                f" the label {names.QUEUE_NAME}"
            )
        if missing := sorted(one.plural for one in _needed(seen) if one in seen.lacking):
            raise ValueError(f"you may not read {', '.join(missing)}: {_ROLE}")
        self.before = observed_of(seen, pods)
        self.observed = dataclasses.replace(
            self.before, cluster_queues=_requoted(self.before.cluster_queues, change.quotas)
        )
        self.own = {
            index: (one.meta.namespace, one.meta.name)
            for index, one in diff.serving(
                self.live.meta, seen.observed.workloads.values(), options=decided.OPTIONS
            ).items()
        }

    def answer(self) -> Answer:
        simulated = snapshot.taken(self.observed, now=self.seen.now)
        self._count_foreign(simulated)
        for queue, _, _ in self.change.quotas:
            simulated.look_again(queue)
        settled = simulated.settle()
        replicas = scaling.bounds(self.wanted).replicas
        anew = self._asked_anew()
        for index, key in self.own.items():
            if anew or index >= replicas:
                simulated.release(key)
        settled &= simulated.settle()
        asked: dict[int, objects.Workload | str] = {}
        made = self._made()
        for index in range(replicas):
            if anew or index not in self.own:
                asked[index] = one = made if isinstance(made, str) else self._of(made, index)
                settled &= self._ask(simulated, one)
        found = tuple(self._group(simulated, index, asked.get(index)) for index in range(replicas))
        gone = tuple(
            Group(index, self._now(index), "gone")
            for index in sorted(self.own)
            if index >= replicas
        )
        return Answer(
            namespace=self.wanted.meta.namespace,
            name=self.wanted.meta.name,
            change=tuple(self._told(anew=anew)),
            running=sum(one.then == "runs" for one in found),
            replicas=replicas,
            groups=found + gone,
            displaced=tuple(self._displaced(simulated)),
            settled=settled,
            not_modelled=(
                *NOT_MODELLED,
                *((_UPDATE,) if anew and self.own else ()),
                *self._surge(),
                *((_FOREIGN,) if resources.WORKLOADS in self.seen.partly else ()),
            ),
        )

    def _asked_anew(self) -> bool:
        """Whether the set of the file asks Kueue for something else than the live one.

        Images, commands and environment are nothing that Kueue is asked for.
        """
        if self.change.manifest is None:
            return False
        before, after = (self._body(one, 0) for one in (self.live, self.wanted))
        if isinstance(before, Reason) or isinstance(after, Reason):
            return True
        old, new = kueue.Workload.of(before), kueue.Workload.of(after)
        differs = shape.difference(
            old, shape.of(new.spec.pod_sets), flavors=self.seen.observed.kueue.flavors
        )
        return bool(differs) or _without_pods(before) != _without_pods(after)

    def _surge(self) -> tuple[str, ...]:
        """Say that groups come beside the replicas, where an update is under way or would be."""
        most = scaling.bounds(self.wanted).surge
        if not most or not (self._is_updated() or self._would_be_updated()):
            return ()
        return (_SURGE.format(most=most),)

    def _is_updated(self) -> bool:
        """Whether groups are still at another revision than the set."""
        what = decided.of(self.seen)
        floor = scaling.bounds(self.live).floor
        return any(
            not one.updated(what.key) for index, one in what.groups.items() if index >= floor
        )

    def _would_be_updated(self) -> bool:
        """Whether the set of the file has another revision than the live one, which has groups."""
        before, after = (
            revisions.key_of(revisions.data_of(one)) for one in (self.live, self.wanted)
        )
        return before != after and bool(self.seen.observed.found.by_index)

    def _body(self, owner: lws.LeaderWorkerSet, index: int) -> Object | Reason:
        known = self.seen.observed.kueue
        classes = build.PriorityClasses(
            workload=known.workload_priority_classes, pod=known.priority_classes
        )
        return build.workload(owner, index, classes=classes, options=decided.OPTIONS)

    def _made(self) -> objects.Workload | str:
        """Return the Workload that the controller would create for a group, or why it would not."""
        body = self._body(self.wanted, 0)
        if isinstance(body, Reason):
            return body.text
        body["metadata"] |= {
            "uid": "",
            "creationTimestamp": self.seen.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        one = objects.Workload.of(body)
        alone = dataclasses.replace(self.observed, workloads={one.key: one})
        return completion.complete(alone).workloads[one.key]

    def _of(self, made: objects.Workload, index: int) -> objects.Workload:
        """Return the Workload of another group: in the order of indices, after all that are."""
        name = naming.of_group(self.wanted.meta, index, short=decided.OPTIONS.short_names)
        meta = dataclasses.replace(made.meta, name=name, uid=f"{index:09}")
        return dataclasses.replace(made, meta=meta)

    def _ask(self, simulated: scheduler.Scheduler, made: objects.Workload | str) -> bool:
        """Let a group ask for quota; returns whether that comes to rest."""
        if isinstance(made, str) or snapshot.barrier(self.observed, made, now=self.seen.now):
            return True
        _, queue = self.observed.queues_of(made)
        assert queue is not None, "there is no barrier, so there is a queue"
        simulated.ask(made, queue.meta.name)
        # One of its shape has been refused already.
        return made.key in simulated.verdicts or simulated.settle()

    # What is told -------------------------------------------------------------------------------

    def _now(self, index: int) -> State:
        workload = self.before.workloads.get(self.own.get(index, ("", "")))
        if workload is None:
            return ""
        return "runs" if workload.holds_quota and not workload.is_true("Evicted") else "waits"

    def _group(
        self, simulated: scheduler.Scheduler, index: int, asked: objects.Workload | str | None
    ) -> Group:
        now = self._now(index)
        if isinstance(asked, str):
            return Group(index, now, "waits", why=asked)
        key = self.own[index] if asked is None else asked.key
        workload = asked or self.before.workloads.get(key)
        if simulated.admitted(key):
            displaces = tuple("/".join(one) for one in simulated.displaced.get(key, ()))
            running = self._running(index, now, workload, simulated.verdicts.get(key))
            return dataclasses.replace(running, displaces=displaces)
        then: State = "displaced" if now == "runs" and asked is None else "waits"
        refusal = simulated.refusal(key)
        if refusal is not None:
            lacks = tuple(self._lacks(simulated, workload, refusal.found))
            return Group(index, now, then, lacks=lacks, why=refusal.message)
        if workload is None:
            return Group(index, now, then)
        why = snapshot.barrier(self.observed, workload, now=self.seen.now)
        said = str(workload.conditions.get("QuotaReserved", {}).get("message", ""))
        return Group(index, now, then, why=why or said)

    def _running(
        self,
        index: int,
        now: State,
        workload: objects.Workload | None,
        verdict: scheduler.Verdict | None,
    ) -> Group:
        if verdict is None:
            parts = ((workload.admission if workload else None) or {}).get("podSetAssignments", ())
            assigned = [(part, objects.domains_of(part)) for part in parts]
            used = (name for part in parts for name in (part.get("flavors") or {}).values())
            taken = [domain for _, domains in assigned for domain, _ in domains]
            return Group(
                index, now, "runs", tuple(dict.fromkeys(used)), tuple(self._domains(taken))
            )
        plans = verdict.found.plans
        used = (flavor for plan in plans for flavor in plan.flavors.values())
        placed = [domain for part in verdict.places.values() for domain, _ in part]
        return Group(
            index,
            now,
            "runs",
            flavors=tuple(dict.fromkeys(used)),
            where=tuple(self._domains(placed)),
        )

    def _domains(self, found: Iterable[tuple[str, ...]]) -> Iterator[str]:
        """Yield the domains right above hosts, or the lowest where there are no hosts."""
        seen: dict[str, None] = {}
        for values in found:
            node = self.observed.nodes.get(values[-1])
            if node is None:
                seen["/".join(values)] = None
                continue
            levels = next(
                (one.levels for one in self.observed.topologies.values() if _has(node, one)), ()
            )
            above = [node.labels[level] for level in levels if level != nodes.HOSTNAME]
            seen["/".join(above) or node.name] = None
        yield from seen

    def _lacks(
        self,
        simulated: scheduler.Scheduler,
        workload: objects.Workload | None,
        found: flavors.Assignment,
    ) -> Iterator[Lack]:
        _, queue = self.observed.queues_of(workload) if workload else (None, None)
        if queue is None:
            return
        node = simulated.tree.queues[queue.meta.name]
        for one in found.shortages:
            yield Lack(
                flavor=one.flavor,
                resource=one.resource,
                amount=quantity.render(one.resource, one.amount),
                limited_by=node.limited_by((one.flavor, one.resource)),
                ever=one.ever,
            )

    def _displaced(self, simulated: scheduler.Scheduler) -> Iterator[str]:
        own = {*self.own.values()}
        for key, workload in sorted(self.before.workloads.items()):
            held = workload.holds_quota and not workload.is_true("Evicted")
            if held and key not in own and not simulated.admitted(key):
                yield "/".join(key)

    def _count_foreign(self, simulated: scheduler.Scheduler) -> None:
        """Count what Workloads hold that may not be read, from what Kueue says of their queues."""
        if resources.WORKLOADS not in self.seen.partly:
            return
        for name, queue in self.before.cluster_queues.items():
            node = simulated.tree.queues[name]
            told = objects.reserved_in(queue)
            node.use(
                {k: told[k] - node.usage.get(k, 0) for k in told if told[k] > node.usage.get(k, 0)}
            )

    def _told(self, *, anew: bool) -> Iterator[str]:
        before, after = (scaling.bounds(one).replicas for one in (self.live, self.wanted))
        if not self.own and self.change.manifest is not None:
            yield f"the set of the file, {after} groups"
        elif anew:
            yield f"the set of the file instead of the live one, {after} groups"
        elif self.change.manifest is not None and self._would_be_updated():
            yield "the set of the file, of which groups keep the quota that they have"
        if before != after:
            yield f"{after} groups instead of {before}"
        for (queue, flavor, resource), amount in self.change.quotas.items():
            kinds = objects.quotas_of(self.before.cluster_queues[queue].groups)
            was = quantity.render(resource, kinds[flavor, resource].nominal)
            yield (
                f"nominalQuota {amount} instead of {was} of {resource} in flavor {flavor} of"
                f" ClusterQueue {queue}"
            )


def _without_pods(workload: Object) -> Object:
    return {key: value for key, value in workload["spec"].items() if key != "podSets"}


def _has(node: nodes.Node, topology: objects.Topology) -> bool:
    return all(level in node.labels for level in topology.levels)


def _readable(seen: look.Seen) -> lws.LeaderWorkerSet:
    if seen.observed.lws is None:
        problem = seen.observed.invalid.problem if seen.observed.invalid else "it is gone"
        raise ValueError(f"LeaderWorkerSet {seen.observed.name} cannot be read: {problem}")
    return seen.observed.lws


def _needed(seen: look.Seen) -> frozenset[resources.Resource]:
    """Return the kinds without which an answer would be about another cluster."""
    return _NEEDED | ({look.TOPOLOGIES, resources.NODES} if _is_placed(seen) else frozenset())


def _is_placed(seen: look.Seen) -> bool:
    """Whether a flavor has a topology."""
    return any((one.get("spec") or {}).get("topologyName") for one in seen.of(resources.FLAVORS))


def _changed(live: lws.LeaderWorkerSet, change: Change) -> lws.LeaderWorkerSet:
    """Return the set as it would be.

    Raises:
        ValueError: the manifest is no valid set.
    """
    wanted = live
    if change.manifest is not None:
        kept = {
            "uid": live.meta.uid,
            "namespace": live.meta.namespace,
            "generation": live.meta.generation,
            "resourceVersion": live.meta.resource_version,
        }
        parsed = cache.parse_set(
            {**change.manifest, "metadata": {**change.manifest["metadata"], **kept}}
        )
        if isinstance(parsed, lws.InvalidSet):
            raise ValueError(f"-f: the set is not valid: {parsed.problem}")
        wanted = parsed
    if change.replicas is None:
        return wanted
    spec = wanted.spec.model_copy(update={"replicas": change.replicas})
    return wanted.model_copy(update={"spec": spec})


def _requoted(
    queues: Mapping[str, objects.ClusterQueue], quotas: Mapping[tuple[str, str, str], str]
) -> Mapping[str, objects.ClusterQueue]:
    """Return the ClusterQueues with other nominal quota.

    Raises:
        LookupError: there is no such quota.
        ValueError: the amount is no quantity, or less than Kueue takes.
    """
    changed = dict(queues)
    for (name, flavor, resource), amount in quotas.items():
        queue, flag = changed.get(name), f"--quota {name}/{flavor}/{resource}"
        if queue is None:
            raise LookupError(f"{flag}: there is no ClusterQueue {name}: {_list(changed)}")
        kinds = objects.quotas_of(queue.groups)
        if (flavor, resource) not in kinds:
            known = _list("/".join(kind) for kind in kinds)
            raise LookupError(
                f"{flag}: ClusterQueue {name} has no quota {flavor}/{resource}: {known}"
            )
        try:
            nominal = quantity.parse(resource, amount)
        except ValueError as error:
            raise ValueError(f"{flag}: {error}") from error
        if nominal < 0:
            raise ValueError(f"{flag}: {amount} is less than 0")
        lent = kinds[flavor, resource].lending
        if lent is not None and nominal < lent:
            limit = quantity.render(resource, lent)
            raise ValueError(f"{flag}: Kueue takes no less than the lendingLimit there, {limit}")
        groups = tuple(_with(group, flavor, resource, nominal) for group in queue.groups)
        changed[name] = dataclasses.replace(queue, groups=groups)
    return changed


def _with(
    group: objects.ResourceGroup, flavor: str, resource: str, nominal: int
) -> objects.ResourceGroup:
    if resource not in group.flavors.get(flavor, {}):
        return group
    before = group.flavors[flavor]
    quota = dataclasses.replace(before[resource], nominal=nominal)
    return dataclasses.replace(
        group, flavors={**group.flavors, flavor: {**before, resource: quota}}
    )


def _list(known: Iterable[str]) -> str:
    return f"there is {', '.join(sorted(known)) or 'none'}"


def observed_of(seen: look.Seen, pods: Sequence[Object] = ()) -> objects.Observed:
    """Return what admission depends on, of what was read."""
    cluster = objects.Observed(
        workloads={_key(one): objects.Workload.of(one) for one in seen.of(resources.WORKLOADS)},
        local_queues={
            _key(one): objects.LocalQueue.of(one) for one in seen.of(resources.LOCAL_QUEUES)
        },
        cluster_queues=_named(seen, resources.CLUSTER_QUEUES, objects.ClusterQueue.of),
        cohorts=_named(seen, look.COHORTS, objects.Cohort.of),
        flavors=_named(seen, resources.FLAVORS, objects.Flavor.of),
        topologies=_named(seen, look.TOPOLOGIES, objects.Topology.of),
        nodes=_named(seen, resources.NODES, nodes.Node.of),
        pods={_key(one): pod for one in pods if (pod := nodes.Pod.of(one)) is not None},
        limit_ranges={
            _key(one): objects.LimitRange.of(one) for one in seen.of(resources.LIMIT_RANGES)
        },
        runtime_classes=_named(seen, resources.RUNTIME_CLASSES, objects.overhead_of),
    )
    return completion.complete(cluster)


def _key(one: Mapping[str, Any]) -> tuple[str, str]:
    return one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _named(seen: look.Seen, resource: resources.Resource, parse: Any) -> dict[str, Any]:
    return {one["metadata"]["name"]: parse(one) for one in seen.of(resource)}


# The command ------------------------------------------------------------------------------------


def quota_given(text: str) -> tuple[tuple[str, str, str], str]:
    """Parse "queue/flavor/resource=amount"; resources may have a slash of their own.

    Raises:
        ValueError: it is none.
    """
    where, equals, amount = text.partition("=")
    parts = where.split("/", 2)
    if not equals or len(parts) != 3 or not all(parts) or not amount:
        raise ValueError(f"--quota {text!r}: give it as CLUSTERQUEUE/FLAVOR/RESOURCE=AMOUNT")
    queue, flavor, resource = parts
    return (queue, flavor, resource), amount


def manifest_of(file: Path) -> Object:
    """Return the one LeaderWorkerSet of a YAML file.

    Raises:
        ValueError: there is none, or more than one, or it cannot be read.
    """
    import yaml

    try:
        found = [
            one
            for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))
            if isinstance(one, dict) and one.get("kind") == names.LWS_KIND
        ]
    except UnicodeDecodeError as error:
        raise ValueError(f"-f {file}: it is no text in UTF-8") from error
    except yaml.YAMLError as error:
        raise ValueError(f"-f {file}: it is no YAML: {error}") from error
    if len(found) != 1:
        raise ValueError(f"-f {file}: it has to have one LeaderWorkerSet, not {len(found)}")
    manifest: Object = found[0]
    meta = manifest.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str) or not meta["name"]:
        raise ValueError(f"-f {file}: metadata.name of the LeaderWorkerSet has to be a text")
    if not isinstance(meta.get("namespace") or "", str):
        raise ValueError(f"-f {file}: metadata.namespace has to be a text")
    return manifest


@click.command("whatif")
@options.OPTIONAL_NAME
@click.option("--replicas", type=click.IntRange(0, lws.MOST_REPLICAS), help="So many groups.")
@click.option(
    "-f",
    "--filename",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the set as it would be.",
)
@click.option("--quota", "quotas", multiple=True, help="CLUSTERQUEUE/FLAVOR/RESOURCE=AMOUNT.")
@options.FORMAT
@options.command
def command(
    where: options.Where,
    name: str | None,
    replicas: int | None,
    filename: Path | None,
    quotas: tuple[str, ...],
    format_: screen.Format,
) -> None:
    """Show which groups would run with other replicas, another set or other nominal quota.

    Nothing is written.
    """
    manifest = manifest_of(filename) if filename else None
    change = Change(replicas, manifest, dict(quota_given(one) for one in quotas))
    if len(change.quotas) < len(quotas):
        raise ValueError("--quota: the same quota is given twice")
    if replicas is None and manifest is None and not quotas:
        raise ValueError("give what is to be otherwise: --replicas, -f or --quota")
    named = name or (manifest["metadata"]["name"] if manifest else None)
    if named is None:
        raise ValueError("give the name of a set, or -f with a set")
    if manifest and named != manifest["metadata"]["name"]:
        raise ValueError(f"-f {filename}: its set is {manifest['metadata']['name']}, not {named}")
    of_file = (manifest or {}).get("metadata", {}).get("namespace")
    if of_file and where.given_namespace not in (None, of_file):
        raise ValueError(
            f"-f {filename}: its set is in namespace {of_file}, and -n says {where.given_namespace}"
        )
    server, namespace = where.connect()
    namespace = of_file or namespace
    key = keys.SetKey(namespace, named)
    with garbage.ignored():
        seen, pods = asyncio.run(looked(server, key, manifest))
        found = answer(seen, change, pods=pods)
    options.noted(seen.notes)
    options.shown(found, lambda wide: blocks(found, wide=wide), format_)


async def looked(
    server: connection.Connection, key: keys.SetKey, manifest: Object | None = None
) -> tuple[look.Seen, Sequence[Object]]:
    """Look at a set and at the pods that take room; ``manifest`` is taken for it where none is.

    Raises:
        reading.NotFoundError: there is no such set, and no manifest.
        asking.ApiError: the API server refuses to show it, or did not answer.
    """
    # A set that nobody has created yet has no UID, so no Workload is its own.
    instead = manifest and {
        **manifest,
        "metadata": {"uid": "", **manifest["metadata"], "namespace": key.namespace},
    }
    seen = await look.a_set(server, key, instead=instead)
    if not _is_placed(seen):
        return seen, ()
    # Pods without a Workload take room that a topology has not any more.
    reader = reading.Reader(server)
    return seen, await reader.widely(resources.PODS, namespace=key.namespace)


def blocks(found: Answer, *, wide: bool) -> list[screen.Block]:
    """Return the screen of an answer."""
    shown: list[screen.Block] = [
        screen.Facts(
            (
                ("Set", f"{found.namespace}/{found.name}"),
                ("With", "; ".join(found.change) or "nothing changed"),
                ("Then", f"{found.running} of {found.replicas} groups have quota"),
                ("Displaced", ", ".join(found.displaced)),
            )
        ),
        screen.Line(""),
        screen.Table(HEAD, tuple(rows(found.groups))),
    ]
    waits = whys(found.groups)
    if waits:
        shown += [screen.Line(""), screen.Line("Waits", style="bold")]
        told = waits if wide else waits[:1]
        shown += [screen.Line(f"  {one}") for one in told]
    if not found.settled:
        shown.append(screen.Line("Workloads would displace each other without an end."))
    shown += [screen.Line(""), screen.Line("Not modelled", style="bold")]
    return shown + [screen.Line(f"  {one}") for one in found.not_modelled]


HEAD: Final = ("GROUP", "NOW", "THEN", "FLAVOR", "WHERE", "LACKS", "DISPLACES")


def rows(groups: Iterable[Group]) -> Iterator[tuple[str, ...]]:
    """Yield a row below ``HEAD`` for each run of groups that are alike."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for one in groups:
        told = (
            one.now,
            one.then,
            ", ".join(one.flavors),
            ", ".join(one.where),
            "; ".join(_lack(lack) for lack in one.lacks),
            ", ".join(one.displaces),
        )
        alike.setdefault(told, []).append(one.index)
    for row, indices in alike.items():
        yield (_runs(indices), *row)


def whys(groups: Iterable[Group]) -> list[str]:
    """Return why groups would wait, each reason once."""
    return [*dict.fromkeys(one.why for one in groups if one.then == "waits" and one.why)]


def _lack(one: Lack) -> str:
    how = "more than there can be" if one.ever else f"limited by {one.limited_by}"
    return f"{one.amount} {one.resource} in {one.flavor} ({how})"


def _runs(indices: Sequence[int]) -> str:
    """Write indices as runs: "0-2, 5"."""
    return numbered(indices).removeprefix("groups ").removeprefix("group ")
