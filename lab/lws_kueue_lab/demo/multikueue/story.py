"""The story of several clusters: four groups on 2 + 1 + 1, one that waits, and more quota."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import names, quantity
from lws_kueue_lab import manifests, worker_clusters
from lws_kueue_lab.demo import screen, snapshot, story, table, telling, watching
from lws_kueue_lab.demo.multikueue import fleet, groups, rows
from lws_kueue_lab.sandbox import binaries, client, kueue

_QUEUES: Final = "queues.yaml"
_SET: Final = "leaderworkerset.yaml"

# How many groups each worker has room for. The manager has room for more than all of them, so that
# it is the workers that say no.
_ROOM: Final = {"worker-1": 2, "worker-2": 1, "worker-3": 1}
_ROOM_OF_THE_MANAGER: Final = 6
_GROUPS: Final = 4
_SCALED_TO: Final = 5
_GETS_MORE: Final = "worker-3"


def tell(
    show: screen.Screen, *, keep: bool, kueue_mode: kueue.Mode, check: Callable[[], None]
) -> None:
    """Tell the story on clusters of its own; with ``keep`` go on until a KeyboardInterrupt.

    Arguments and errors are those of `lws_kueue_lab.demo.story.tell`.
    """
    kueue.have(kueue_mode, backend="process")
    with contextlib.ExitStack() as stack:
        show.say(
            f"Starting {len(_ROOM) + 1} Kubernetes control planes for the demo alone: a manager "
            f"without nodes, and the workers {', '.join(_ROOM)} with nodes"
        )
        stack.enter_context(telling.notices(show))
        opened = stack.enter_context(
            fleet.opening(list(_ROOM), show, kueue_mode=kueue_mode, check=check)
        )
        stage = _set_up(show, stack, opened, check)
        stage.apply_set()
        stage.scale()
        stage.raise_quota()
        _sum_up(show, stage)
        check()
        if keep:
            _say_how_to_use(show, stage)
            stage.telling.keep()


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs, and the objects that the story is about."""

    telling: telling.Telling[groups.Snapshot]
    fleet: fleet.Fleet
    owner: dict[str, Any]
    cluster_queues: Mapping[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """The name of the set."""
        return str(self.owner["metadata"]["name"])

    def say(self, text: str) -> None:
        """Say one thing."""
        self.telling.show.say(text)

    def apply_set(self) -> None:
        """Apply the set to the manager; each group runs where there is room for it."""
        size = self.owner["spec"]["leaderWorkerTemplate"]["size"]
        self.say(
            f"Applying examples/{_SET} to the manager, with {_GROUPS} groups: "
            f"set {self.name}, {size} pods each"
        )
        self.fleet.manager.api.apply(self.owner)
        seen = self._until_all_run(_GROUPS)
        self.say(f"{_GROUPS} of {_GROUPS} groups run: {_where(seen)}.")

    def scale(self) -> None:
        """Scale up by one group more than there is room for, and say what each worker answers."""
        self.telling.let_read()
        self.say(f"Scaling {self.name} from {_GROUPS} to {_SCALED_TO} groups, in the manager")
        story.scale(self.fleet.manager, self.owner, groups=_SCALED_TO)
        seen = self.telling.until(
            lambda seen: groups.all_run_but_one(seen, groups=_SCALED_TO),
            what=f"{_GROUPS} groups run and one is taken by no worker",
        )
        self.say(f"{_GROUPS} of {_SCALED_TO} groups run. Why one waits, as the set says:")
        for line in _answers(seen):
            self.telling.show.line(f"            {line}")

    def raise_quota(self) -> None:
        """Give a worker as much more as one group needs, and see the last one start there."""
        self.telling.let_read()
        before = self.telling.watcher.now()
        queue = self.cluster_queues[_GETS_MORE]
        more = snapshot.with_more_quota(queue, more=_needed(before))
        self.say(
            f"Raising the quota in {_GETS_MORE} from {table.amounts(snapshot.quota(queue))} "
            f"to {table.amounts(snapshot.quota(more))}"
        )
        self.fleet.clusters[_GETS_MORE].api.apply(more)
        seen = self._until_all_run(_SCALED_TO)
        self.say(f"{_SCALED_TO} of {_SCALED_TO} groups run: {_where(seen)}.")
        replaced = len(before.pods_of(_GROUPS) - seen.pods_of(_GROUPS))
        self.say(
            f"The pods of the first {_GROUPS} groups are still the same."
            if not replaced
            else f"{replaced} pods of the first {_GROUPS} groups were replaced meanwhile."
        )

    def _until_all_run(self, wanted: int) -> groups.Snapshot:
        return self.telling.until(
            lambda seen: groups.runs(seen, groups=wanted), what=f"{wanted} of {wanted} groups run"
        )


def _answers(seen: groups.Snapshot) -> list[str]:
    """Return what the set says about groups that wait, a line for the answer of each worker."""
    text = seen.why_waiting()
    for name in seen.workers:
        for before in ("; ", ": "):
            text = text.replace(f"{before}{name}: ", f"{before.rstrip()}\n  {name}: ")
    return text.splitlines()


def _where(seen: groups.Snapshot) -> str:
    """Say how many groups run in which cluster."""
    found = [group.cluster for group in seen.groups()]
    return ", ".join(f"{found.count(name)} in {name}" for name in sorted(set(found)))


def _needed(seen: groups.Snapshot) -> quantity.Amounts:
    """Return what a group that runs has of the manager's quota."""
    workload = next((group.workload for group in seen.groups() if group.runs), None)
    if workload is None:
        raise telling.FailedError("No group runs any more, so nothing tells what one needs")
    return snapshot.reserved(workload)


# The clusters ----------------------------------------------------------------------------------


def _set_up(
    show: screen.Screen,
    stack: contextlib.ExitStack,
    opened: fleet.Fleet,
    interrupted: Callable[[], None],
) -> Stage:
    """Make the queues, and what watches all of it."""
    rooms = {fleet.MANAGER: _ROOM_OF_THE_MANAGER, **_ROOM}
    queues = {name: _queues(name, groups=room) for name, room in rooms.items()}
    for name, objects in queues.items():
        for obj in objects:
            opened.clusters[name].api.apply(obj)
    cluster_queues = {
        name: next(obj for obj in objects if obj["kind"] == "ClusterQueue")
        for name, objects in queues.items()
    }
    told = "; ".join(
        f"{name} {table.amounts(snapshot.quota(queue))}" for name, queue in cluster_queues.items()
    )
    queue = cluster_queues[fleet.MANAGER]["metadata"]["name"]
    show.say(
        f"Applied examples/{_QUEUES} to all clusters, with these quotas of ClusterQueue {queue}: "
        f"{told}. In the manager it asks for AdmissionCheck {worker_clusters.CHECK}, by which this "
        "controller dispatches"
    )
    owner = next(obj for obj in manifests.example(_SET) if obj["kind"] == names.LWS_KIND)
    owner["spec"]["replicas"] = _GROUPS

    def check() -> None:
        interrupted()
        opened.check()

    under_way = telling.Telling(
        show=show,
        watcher=stack.enter_context(_watcher(opened, owner, cluster_queue=queue)),
        draw=rows.draw,
        check=check,
        log_tail=opened.log_tail,
    )
    return Stage(telling=under_way, fleet=opened, owner=owner, cluster_queues=cluster_queues)


def _queues(cluster: str, *, groups: int) -> list[client.Object]:
    """Return the queues of a cluster with room for so many groups; the manager's dispatches."""
    objects = manifests.example(_QUEUES)
    for obj in objects:
        if obj["kind"] == "ClusterQueue":
            # A group of the example needs one cpu.
            (resources,) = obj["spec"]["resourceGroups"]
            resources["flavors"][0]["resources"][0]["nominalQuota"] = groups
            if cluster == fleet.MANAGER:
                asks = worker_clusters.asking(worker_clusters.CHECK)
                obj["spec"]["admissionChecksStrategy"] = asks
    return objects


def _watcher(
    opened: fleet.Fleet, owner: dict[str, Any], *, cluster_queue: str
) -> watching.Watcher[groups.Snapshot]:
    """Watch the set in the manager, and what stands for its groups in the workers."""
    name, namespace = owner["metadata"]["name"], owner["metadata"]["namespace"]
    here = watching.kinds_of_set(namespace, name, cluster_queue)
    by_set = f"{names.ORIGIN_SET}={name}"
    there = (
        watching.Kind(names.KUEUE_API_VERSION, "Workload", namespace, by_set),
        watching.Kind("v1", "Pod", namespace, by_set),
        watching.queue_kind(cluster_queue),
    )

    def summed(clusters: Mapping[str, watching.Objects]) -> groups.Snapshot:
        found = {
            cluster: snapshot.Snapshot(
                owner=next(iter(seen.get(names.LWS_KIND, ())), None),
                workloads=[
                    one
                    for one in seen["Workload"]
                    if cluster != fleet.MANAGER or snapshot.is_owned_by(one, name)
                ],
                pods=seen["Pod"],
                cluster_queue=next(iter(seen["ClusterQueue"]), None),
            )
            for cluster, seen in clusters.items()
        }
        return groups.Snapshot(manager=found.pop(fleet.MANAGER), workers=found)

    return watching.Watcher(
        {
            cluster: (one.kubeconfig, here if cluster == fleet.MANAGER else there)
            for cluster, one in opened.clusters.items()
        },
        summed,
    )


def _sum_up(show: screen.Screen, stage: Stage) -> None:
    here, there = stage.fleet.writes()
    size = stage.owner["spec"]["leaderWorkerTemplate"]["size"]
    show.say(
        f"Done in {show.elapsed:.0f} s. For {_SCALED_TO} groups of {size} pods the manager's "
        f"controller made {here} writes there, Events aside, and {there} in the workers; admission "
        f"was decided by: {stage.fleet.manager.kueue}."
    )


def _say_how_to_use(show: screen.Screen, stage: Stage) -> None:
    kubectl = binaries.ensure()["kubectl"]
    queue = stage.cluster_queues[fleet.MANAGER]["metadata"]["name"]
    aliases = "\n".join(
        f"  alias {name}='{kubectl} --kubeconfig={one.kubeconfig}'"
        for name, one in stage.fleet.clusters.items()
    )
    show.line(
        f"""
The clusters and their controllers stay up until Ctrl-C. In another terminal:

{aliases}
  manager get leaderworkersets,workloads,pods
  manager describe leaderworkerset {stage.name}
  manager scale leaderworkerset {stage.name} --replicas=6
  worker-1 get leaderworkersets,workloads,pods -o wide
  worker-1 edit clusterqueue {queue}
"""
    )
