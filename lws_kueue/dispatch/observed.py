"""What is known when it is decided about the groups of a set: the manager's side and each worker's.

All of it is a value that whoever watches the clusters puts together. A cluster that does not answer
keeps what was last seen of it, and since when it is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lws_kueue.api import facts, kueue, lws, names
from lws_kueue.api.reasons import Reason
from lws_kueue.dispatch import identity, settings
from lws_kueue.workload import recreate


@dataclass(frozen=True)
class RemoteSet:
    """A set of one replica in a worker, as its API server and its controller show it."""

    meta: facts.Meta
    spec: facts.Object
    status: facts.Object
    managed_fields: tuple[facts.Object, ...] = ()

    @classmethod
    def of(cls, obj: facts.Object) -> "RemoteSet":
        """Parse a stored set; its spec is only compared, so it is not read."""
        return cls(
            meta=facts.Meta.of(obj),
            spec=obj.get("spec") or {},
            status=obj.get("status") or {},
            managed_fields=tuple((obj.get("metadata") or {}).get("managedFields") or ()),
        )

    @property
    def key(self) -> str:
        """The revision key of the group on the manager that it was made from."""
        return self.meta.annotations.get(names.ORIGIN_REVISION, "")

    def ready(self, key: str) -> bool:
        """Whether its group is ready, with the content of revision ``key``."""
        return self.updated(key) and int(self.status.get("readyReplicas") or 0) >= 1

    def updated(self, key: str) -> bool:
        """Whether its pods have the content of revision ``key``, ready or not."""
        return (
            self.key == key
            and self.status.get("observedGeneration") == self.meta.generation
            and int(self.status.get("updatedReplicas") or 0) >= 1
        )


@dataclass(frozen=True, slots=True)
class Link:
    """Whether a cluster answers; ``lost_since`` None says that it does.

    Of a cluster that this process has never listed, it is since when the process leads.
    """

    lost_since: datetime | None = None

    @property
    def up(self) -> bool:
        """Whether what is known of the cluster is whole, and is kept up to date."""
        return self.lost_since is None

    def lost_for(self, now: datetime) -> timedelta:
        """Return for how long the cluster has been lost."""
        return timedelta() if self.lost_since is None else now - self.lost_since


@dataclass(frozen=True)
class Cluster:
    """A worker, as far as it concerns one set; it is known until nothing of ours is left in it.

    ``configured`` says that a config of our check names it; one that no config names any more is
    drained. ``gone`` says that nobody could reach it: there is no MultiKueueCluster of its name.
    ``trouble`` is why it can have no groups, "" if it can; ``may_look`` says whether pods there may
    be listed. ``anchor`` is the UID of our Lease in the set's namespace, "" if there is none.
    ``workloads`` and ``sets`` are by name, those of the set's namespace with our origin and the
    set's name. ``refused`` are names under which nothing can be made, with the reason: something
    foreign has them, or the API server refuses. ``pods`` are those of the sets that a decision has
    asked about (``places.asked``).
    """

    name: str
    link: Link = Link()
    configured: bool = True
    gone: bool = False
    trouble: str = ""
    may_look: bool = True
    anchor: str = ""
    workloads: Mapping[str, kueue.Workload] = field(default_factory=dict)
    sets: Mapping[str, RemoteSet] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    pods: Mapping[str, tuple[facts.Pod, ...]] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether groups may be offered to it."""
        return self.configured and self.link.up and not self.trouble


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another set of the namespace, beside whose groups those of a set are to be.

    ``clusters`` are those that its groups have been given to, ``beside`` the set that it names in
    turn, "" for none.
    """

    clusters: frozenset[str] = frozenset()
    beside: str = ""


@dataclass(frozen=True)
class Workers:
    """All clusters that are known, as far as they concern one set; those of a config in its order.

    ``manager`` is who we are to them, ``options`` how groups are dispatched. ``neighbours`` are the
    sets by name that the set names, those that these name, and so on.
    """

    manager: identity.Manager
    options: settings.Settings
    clusters: tuple[Cluster, ...] = ()
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)

    def looked_up(self, pods: Mapping[str, Mapping[str, tuple[facts.Pod, ...]]]) -> "Workers":
        """Return the same with pods that no watch tells, by cluster and by the set's name there."""
        return replace(self, clusters=with_pods(self.clusters, pods))


def with_pods(
    clusters: tuple[Cluster, ...], pods: Mapping[str, Mapping[str, tuple[facts.Pod, ...]]]
) -> tuple[Cluster, ...]:
    """Return clusters with pods that were looked up, by cluster and by the set's name there."""
    return tuple(
        replace(one, pods={**one.pods, **pods[one.name]}) if one.name in pods else one
        for one in clusters
    )


@dataclass(frozen=True)
class Group:
    """A group as the manager has it: its Workload, its gated pods, and what it is to be made from.

    ``wanted`` says that the set wants it: it is not scaled away, and the set is not going.
    ``content`` is that of its leader's revision, with what it asks of topology; None where there is
    no leader yet, or none can be read.
    """

    index: int
    workload: kueue.Workload | None = None
    leader: facts.Pod | None = None
    pods: tuple[facts.Pod, ...] = ()
    content: recreate.Content | None = None
    wanted: bool = True


@dataclass(frozen=True)
class Observed:
    """A set whose groups are dispatched; ``lws`` is None when it is gone.

    ``groups`` are those that the set wants or has a Workload of, and those of which a set that had
    its name before has left a Workload.

    ``checks`` are the names of all AdmissionChecks that we serve. ``refused`` is why nothing is
    offered for the set, None if it is (``activation``). ``max_unavailable`` is how many groups a
    drain may move at a time. ``clusters`` are all that are known, those of the config in its order.
    ``neighbours`` are the sets that the set wants to be beside (``Workers``).
    """

    manager: identity.Manager
    namespace: str
    name: str
    lws: lws.LeaderWorkerSet | None
    checks: frozenset[str] = frozenset()
    refused: Reason | None = None
    max_unavailable: int = 1
    groups: tuple[Group, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)

    def looked_up(self, pods: Mapping[str, Mapping[str, tuple[facts.Pod, ...]]]) -> "Observed":
        """Return the same with pods that no watch tells, by cluster and by the set's name there."""
        return replace(self, clusters=with_pods(self.clusters, pods))
