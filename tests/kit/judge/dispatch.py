"""Whether the groups of a set ever ran twice, or on quota that nobody gave: INV-1 to INV-9.

And whether they are where their set wants them: all in one cluster, or beside those of another one.

The judge looks at the objects of all clusters after every single thing that happens, and knows
nothing of the controller: labels and annotations are spelled out, and what is right is counted.
What people do beside the controller, and links that are cut, are told to it.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
GroupKey = tuple[str, str]

ORIGIN, ORIGIN_VALUE = "kueue.x-k8s.io/multikueue-origin", "lws-kueue-11111111"
MANAGER, MANAGER_UID = "lws-kueue.dev/manager", "11111111-2222-3333-4444-555555555555"
ORIGIN_UID = "kueue.x-k8s.io/multikueue-origin-uid"
INDEX = "lws-kueue.dev/group-index"
PLACEMENT = "lws-kueue.dev/placement"
SAME_CLUSTER_AS = "lws-kueue.dev/same-cluster-as"
SET_LABEL = "leaderworkerset.sigs.k8s.io/name"
GROUP_INDEX = "kueue.x-k8s.io/component-workload-index"
OWNER = "kueue.x-k8s.io/job-owner-name"
# A group that ran on through a long cut ends so soon after the cluster is back.
CLEANED_IN = datetime.timedelta(seconds=30)
GRACE = datetime.timedelta(seconds=30)


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class Judge:
    """What has been told of links and of people, and what was there a moment ago."""

    timeout: datetime.timedelta
    cuts: dict[str, datetime.datetime] = field(default_factory=dict)
    long_cuts_ended: dict[str, datetime.datetime] = field(default_factory=dict)
    # Clusters in which somebody else has touched our objects; and groups switched off by hand.
    touched: set[str] = field(default_factory=set)
    switched_off: bool = False
    sets_before: dict[str, set[str]] = field(default_factory=dict)
    # For tests of the judge: which invariants were looked at with something to judge.
    busy: dict[str, int] = field(default_factory=dict)

    def cut(self, cluster: str, at: datetime.datetime) -> None:
        self.cuts[cluster] = at

    def mended(self, cluster: str, at: datetime.datetime) -> None:
        if at - self.cuts.pop(cluster) > self.timeout:
            self.long_cuts_ended[cluster] = at

    def excused(self, cluster: str, now: datetime.datetime) -> bool:
        """Whether a cluster was cut off for longer than anybody has to wait."""
        since, ended = self.cuts.get(cluster), self.long_cuts_ended.get(cluster)
        if since is not None and now - since > self.timeout:
            return True
        return ended is not None and now - ended <= CLEANED_IN

    # Looking --------------------------------------------------------------------------------

    def look(self, world: Any) -> None:
        """Look at everything as it is now."""
        self._one_cluster(world)
        self._two_keys(world)
        self._manager_quota_last(world)
        self._quota(world)
        self._sets_made(world)
        self._one_home(world)

    def _count(self, name: str) -> None:
        self.busy[name] = self.busy.get(name, 0) + 1

    def _one_cluster(self, world: Any) -> None:
        where: dict[GroupKey, set[str]] = {}
        for name, link in world.links.items():
            for pod in _kind(link.cluster, "Pod"):
                if runs(pod, world) and (group := self._group(link.cluster, pod)) is not None:
                    where.setdefault(group, set()).add(name)
        for group, clusters in where.items():
            self._count("INV-1")
            counted = [one for one in clusters if not self.excused(one, world.clock.now)]
            if len(clusters) > 1 and len(counted) > 1:
                raise Broken(f"INV-1: {group} runs on {sorted(clusters)}")
        for pod in _kind(world.manager, "Pod"):
            if runs(pod, world):
                raise Broken(f"INV-2: {pod['metadata']['name']} can run on the manager")

    def _group(self, cluster: Any, pod: Object) -> GroupKey | None:
        """The group of a pod: its set's uid on the manager, as was noted of its set, and index."""
        name = pod["metadata"]["labels"][SET_LABEL]
        live = cluster.objects.get(("LeaderWorkerSet", name))
        uid = name.rpartition("-")[2]
        if live is not None:
            uid = (live["metadata"].get("annotations") or {}).get(ORIGIN_UID) or uid
            self._uids[name] = uid
        uid = self._uids.get(name, uid)
        index = pod["metadata"]["labels"].get(INDEX)
        return (uid, index) if index is not None else None

    _uids: dict[str, str] = field(default_factory=dict)

    def _two_keys(self, world: Any) -> None:
        for name, link in world.links.items():
            if name in self.touched:
                continue
            for pod in _kind(link.cluster, "Pod"):
                if not runs(pod, world) or "deletionTimestamp" in pod["metadata"]:
                    continue
                self._count("INV-2")
                own = pod["metadata"]["labels"][SET_LABEL]
                if ("LeaderWorkerSet", own) not in link.cluster.objects:
                    raise Broken(f"INV-2: {own} runs on {name} without its set")
                # That quota is being taken back is told to pods a moment later.
                behind = [
                    one for one in _kind(link.cluster, "Workload") if _annotation(one, OWNER) == own
                ]
                if not any(_true(one, "Admitted") for one in behind):
                    raise Broken(f"INV-2: {own} runs on {name} without an admission")

    def _manager_quota_last(self, world: Any) -> None:
        reserved = {
            (one["metadata"]["ownerReferences"][0]["uid"], _annotation(one, GROUP_INDEX))
            for one in _kind(world.manager, "Workload")
            if _true(one, "QuotaReserved")
        }
        for name, link in world.links.items():
            if name in self.cuts or name in self.touched or name in self.long_cuts_ended:
                continue
            for one in _kind(link.cluster, "LeaderWorkerSet"):
                if not is_ours(one):
                    continue
                self._count("INV-3")
                group = (_annotation(one, ORIGIN_UID), one["metadata"]["labels"][INDEX])
                if group not in reserved:
                    raise Broken(f"INV-3: {group} is on {name} and has no quota on the manager")

    def _quota(self, world: Any) -> None:
        if self.switched_off:
            return
        total = 0
        for name, link in world.links.items():
            used = sum(_cpus(pod) for pod in _kind(link.cluster, "Pod") if runs(pod, world))
            if name not in self.touched:
                self._count("INV-9")
                if used > max(link.cluster.quota, self._once.get(name, 0)):
                    raise Broken(f"INV-9: {used} of {link.cluster.quota} cpus run on {name}")
            if not self.excused(name, world.clock.now):
                total += used
        if not self.touched and total > world.manager.quota:
            raise Broken(f"INV-9: {total} of {world.manager.quota} cpus of the manager run")

    # What quota a queue once had: nobody is evicted by a quota that shrinks.
    _once: dict[str, int] = field(default_factory=dict)

    def shrinks(self, cluster: str, quota: int) -> None:
        self._once[cluster] = max(quota, self._once.get(cluster, 0))

    def _sets_made(self, world: Any) -> None:
        for name, link in world.links.items():
            now = {
                one["metadata"]["uid"]: one
                for one in _kind(link.cluster, "LeaderWorkerSet")
                if is_ours(one)
            }
            for uid in set(now) - self.sets_before.get(name, set()):
                self._set_made(world, name, now[uid])
            self.sets_before[name] = set(now)

    def _set_made(self, world: Any, cluster: str, made: Object) -> None:
        self._count("INV-5")
        group = (_annotation(made, ORIGIN_UID), made["metadata"]["labels"][INDEX])
        for name, link in world.links.items():
            if name == cluster or name in self.cuts or name in self.touched:
                continue
            for kind in ("LeaderWorkerSet", "Workload"):
                for one in _kind(link.cluster, kind):
                    labels = one["metadata"].get("labels") or {}
                    if is_ours(one) and (_annotation(one, ORIGIN_UID), labels.get(INDEX)) == group:
                        raise Broken(f"INV-5: {group} is made on {cluster}; {kind} on {name}")

    # One cluster ----------------------------------------------------------------------------

    # The set that is to be in one cluster, and whether it has been since that was said: groups
    # that were elsewhere before stay there.
    _joined: tuple[str, bool] = ("", False)

    def _one_home(self, world: Any) -> None:
        live = world.manager.objects.get(("LeaderWorkerSet", "sample"))
        if live is None or _annotation(live, PLACEMENT) != "one-cluster":
            self._joined = ("", False)
            return
        uid = live["metadata"]["uid"]
        where = {name for name, link in world.links.items() if self._has(link.cluster, uid, world)}
        together = len(where) <= 1
        if self._joined != (uid, True):
            self._joined = (uid, together)
            return
        self._count("one-cluster")
        counted = [
            one
            for one in where
            if one not in self.touched and not self.excused(one, world.clock.now)
        ]
        if len(counted) > 1:
            raise Broken(f"one-cluster: groups of {uid} are on {sorted(counted)}")

    def _has(self, cluster: Any, uid: str, world: Any) -> bool:
        """Whether a cluster has a group of a set: what runs, or what is made to run."""
        runs_there = any(
            runs(pod, world) and (self._group(cluster, pod) or ("", ""))[0] == uid
            for pod in _kind(cluster, "Pod")
        )
        return runs_there or any(
            is_ours(one) and _annotation(one, ORIGIN_UID) == uid
            for one in _kind(cluster, "LeaderWorkerSet")
        )

    # Writes ---------------------------------------------------------------------------------

    # The clusters that were left to groups when it was decided last, None for all.
    _beside: frozenset[str] | None = None

    def decides(self, live: Object | None, others: frozenset[str] | None) -> None:
        """Take that it is about to be decided, by where the groups of another set are seen."""
        asks = live is not None and _annotation(live, SAME_CLUSTER_AS)
        self._beside = (others or frozenset()) if asks else None

    def _gives(self, world: Any, ref: Any, write: Any) -> None:
        live = world.manager.objects.get((ref.kind, ref.name))
        if ref.kind != "Workload" or live is None or type(write).__name__ != "Apply":
            return
        given = (write.body.get("status") or {}).get("clusterName")
        if self._beside is None or not given or (live.get("status") or {}).get("clusterName"):
            return
        self._count("same-cluster-as")
        if given not in self._beside:
            raise Broken(f"same-cluster-as: {ref.name} is given to {given}, not {self._beside}")

    def before(self, world: Any, cluster: str, ref: Any, write: Any) -> None:
        """Look at a write before it happens."""
        if not cluster:
            self._gives(world, ref, write)
            return
        kube = world.links[cluster].cluster
        live = kube.objects.get((ref.kind, ref.name))
        kind = type(write).__name__
        if live is not None and kind != "Create" and not is_ours(live):
            raise Broken(f"INV-6: {kind} of {ref.kind} {ref.name}, which is not ours, on {cluster}")
        if live is not None:
            self._count("INV-6")
        if ref.kind == "Workload" and kind == "Delete" and live is not None:
            self._count("INV-4")
            own = _annotation(live, OWNER)
            for pod in _kind(kube, "Pod"):
                if pod["metadata"]["labels"][SET_LABEL] == own and runs(pod, world):
                    raise Broken(f"INV-4: {ref.name} is deleted on {cluster}, its pods can run")

    # At rest --------------------------------------------------------------------------------

    def rest(self, world: Any) -> None:
        """Look at what is left when nothing happens any more: exactly what belongs there."""
        given = {
            (one["metadata"]["ownerReferences"][0]["uid"], _annotation(one, GROUP_INDEX)): (
                (one.get("status") or {}).get("clusterName"),
                (one.get("status") or {}).get("nominatedClusterNames") or [],
            )
            for one in _kind(world.manager, "Workload")
        }
        for name, link in world.links.items():
            if name in self.cuts:
                continue
            for kind, one in self._left(link.cluster):
                self._count("INV-7")
                labels = one["metadata"]["labels"]
                home, nominated = given.get(
                    (_annotation(one, ORIGIN_UID), labels[INDEX]), (None, [])
                )
                if home != name and not (kind == "Workload" and name in nominated):
                    raise Broken(f"INV-7: {kind} {one['metadata']['name']} is left on {name}")

    def _left(self, cluster: Any) -> Iterator[tuple[str, Object]]:
        for kind in ("LeaderWorkerSet", "Workload"):
            for one in _kind(cluster, kind):
                if is_ours(one):
                    yield kind, one


def is_ours(one: Object) -> bool:
    """Whether an object in a worker has the marks of the manager."""
    labels = one["metadata"].get("labels") or {}
    return labels.get(ORIGIN) == ORIGIN_VALUE and _annotation(one, MANAGER) == MANAGER_UID


def runs(pod: Object, world: Any) -> bool:
    """Whether a pod runs, or can come to run without anybody letting it go.

    One that should have ended long ago, and has not, is on a node that nobody hears of: it no
    longer counts, as with Kueue.
    """
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if pod["spec"].get("schedulingGates") or ended:
        return False
    deleted = pod["metadata"].get("deletionTimestamp")
    return not deleted or world.clock.now <= datetime.datetime.fromisoformat(deleted) + GRACE


def _kind(cluster: Any, kind: str) -> list[Object]:
    return [one for (found, _), one in cluster.objects.items() if found == kind]


def _annotation(one: Object, key: str) -> str:
    return str((one["metadata"].get("annotations") or {}).get(key) or "")


def _true(one: Object, kind: str) -> bool:
    told = (one.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in told)


def _cpus(pod: Object) -> int:
    return sum(int(c["resources"]["requests"]["cpu"]) for c in pod["spec"]["containers"])
