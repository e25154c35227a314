"""Many sets at once, each with a queue of its own, that are edited in one moment and watched."""

import contextlib
import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names, quantity, requests
from tests.kit.builders import cluster as build
from tests.kit.judge import history, ledger, watcher
from tests.kit.live import harness
from tests.kit.lws import sets
from tests.kit.lws.sample import LWS, Object

WORKLOAD = (names.KUEUE_API_VERSION, "Workload")
CLUSTER_QUEUE = (names.KUEUE_API_VERSION, "ClusterQueue")

# Sets start and roll beside one another on a machine of two cores that may do other things as well.
START_SECONDS = 420.0
ROLL_SECONDS = 420.0

Change = Callable[[Object], None]


@dataclass(frozen=True, slots=True)
class Member:
    """A set of the fleet, and what is done to it.

    ``headroom`` is quota beyond that of the groups, in groups. ``unavailable`` is how many groups
    the set allows to be down. Flavors are names; of all but the first there is nothing.
    """

    name: str
    body: Object
    change: Change
    unavailable: int
    headroom: int = 0
    flavors: Sequence[str] = ()
    accounted: bool = True

    @property
    def new(self) -> Object:
        """The set after the change."""
        obj = copy.deepcopy(self.body)
        self.change(obj)
        return obj

    @property
    def quota(self) -> quantity.Amounts:
        """What the groups need, before the change and after it."""
        return quantity.largest(need(self.body, self.headroom), need(self.new, self.headroom))

    @property
    def stay(self) -> int:
        """How many groups have to be available at any time."""
        groups: int = min(self.body["spec"]["replicas"], self.new["spec"]["replicas"])
        return max(0, groups - max(1, self.unavailable))


def need(obj: Object, headroom: int = 0) -> quantity.Amounts:
    """Return what all groups of a set request, and ``headroom`` more of them."""
    group = obj["spec"]["leaderWorkerTemplate"]
    worker = requests.of_pod(group["workerTemplate"]["spec"])
    leader = group.get("leaderTemplate")
    first = worker if leader is None else requests.of_pod(leader["spec"])
    one = quantity.add(first, quantity.times(worker, group["size"] - 1))
    return quantity.times(one, obj["spec"]["replicas"] + headroom)


@dataclass(slots=True)
class Book(history.Book):
    """What the judge has to say of a member, and the ``fewest`` groups that were available."""

    fewest: int | None = None


@dataclass(slots=True)
class Outcome:
    """What became of the members of a fleet, by name; ``refused`` is what the API did not take."""

    before: dict[str, dict[str, str]] = field(default_factory=dict)
    after: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    ended: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, dict[str, Object]] = field(default_factory=dict)
    books: Mapping[str, Book] = field(default_factory=dict)
    overdrawn: Sequence[str] = ()
    seconds: float = 0.0


@contextlib.contextmanager
def queues(
    cluster: sandbox.Sandbox, members: Sequence[Member], *, namespace: str
) -> Iterator[None]:
    """Make a ClusterQueue and a LocalQueue for each member, and take them away again."""
    cluster.api.apply(build.kueues("ResourceFlavor", namespace))
    covered = sorted({resource for member in members for resource in member.quota})
    try:
        for member in members:
            for obj in _queues_of(member, namespace=namespace, covered=covered):
                cluster.api.apply(obj)
        yield
    finally:
        for member in members:
            name = cluster_queue(member.name, namespace=namespace)
            with contextlib.suppress(client.ApiError):
                cluster.api.delete(*CLUSTER_QUEUE, name, missing_ok=True)


def cluster_queue(name: str, *, namespace: str) -> str:
    """Return the name of the ClusterQueue of a member."""
    return f"{namespace}.{name}"


def _queues_of(member: Member, *, namespace: str, covered: Sequence[str]) -> list[Object]:
    amounts = {
        resource: f"{amount}m" if resource == "cpu" else str(amount)
        for resource in covered
        for amount in [member.quota.get(resource, 0)]
    }
    first, *others = member.flavors or (namespace,)
    quota = {first: amounts} | {other: dict.fromkeys(covered, "0") for other in others}
    name = cluster_queue(member.name, namespace=namespace)
    return [
        build.cluster_queue(name, quota),
        build.local_queue(member.name, namespace=namespace, cluster_queue=name),
    ]


def play(cluster: sandbox.Sandbox, members: Sequence[Member], *, namespace: str) -> Outcome:
    """Start all members, change them in one moment, and watch until all have rolled.

    What does not roll in time is missing in the outcome's ``ended``; nothing else waits for it.
    """
    outcome = Outcome()
    with contextlib.ExitStack() as stack:
        stack.enter_context(queues(cluster, members, namespace=namespace))
        recorded = stack.enter_context(recording(cluster, namespace=namespace))
        for member in members:
            cluster.api.create(_placed(member, namespace=namespace))
        started = wait(cluster, members, namespace=namespace, timeout=START_SECONDS, new=False)
        late = sorted({member.name for member in members} - set(started))
        assert not late, f"not available at the start: {late}"
        outcome.before = workloads(cluster, namespace=namespace)
        begin = time.monotonic()
        since: dict[str, int] = {}
        for member in members:
            try:
                since[member.name] = change(cluster, member, namespace=namespace)
            except client.ApiError as error:
                outcome.refused[member.name] = str(error.body)
        changed = [member for member in members if member.name in since]
        outcome.ended = wait(cluster, changed, namespace=namespace, timeout=ROLL_SECONDS)
        outcome.seconds = time.monotonic() - begin
        outcome.after = workloads(cluster, namespace=namespace)
        for pod in cluster.api.list("v1", "Pod", namespace=namespace):
            name = pod["metadata"]["labels"][names.SET_NAME]
            outcome.pods.setdefault(name, {})[pod["metadata"]["name"]] = pod
    outcome.books = judged(recorded.events, members, since)
    outcome.overdrawn = history.overdrawn(recorded.of_kind("ClusterQueue"))
    return outcome


def recording(
    cluster: sandbox.Sandbox, *, namespace: str
) -> contextlib.AbstractContextManager[harness.Recording]:
    """Record all by which members in a namespace are judged, from their queues on."""
    return harness.Recording(
        cluster, *watcher.KINDS, namespace=namespace, from_list=True
    ).watching()


def judged(
    events: Sequence[Object], members: Sequence[Member], since: Mapping[str, int]
) -> dict[str, Book]:
    """Return what a recording tells of each member; ``since`` is the version of its change."""
    facts = [fact for event in events if (fact := history.fact(event)) is not None]
    unaccounted = [member.name for member in members if not member.accounted]
    verdict = history.judge(facts, unaccounted=unaccounted)
    books = {}
    for name in (member.name for member in members):
        book = verdict.books.get(name, history.Book())
        fewest = ledger.fewest(events, name, since=since[name]) if name in since else None
        books[name] = Book(book.violations, book.released, fewest)
    return books


def _placed(member: Member, *, namespace: str) -> Object:
    body = copy.deepcopy(member.body)
    body["metadata"] |= {"name": member.name, "namespace": namespace}
    body["metadata"].setdefault("labels", {})[names.QUEUE_NAME] = member.name
    return body


def change(cluster: sandbox.Sandbox, member: Member, *, namespace: str) -> int:
    """Change a member's spec as it is stored; returns the version from which that holds."""
    return edit(cluster, member.name, member.change, namespace=namespace)


def edit(cluster: sandbox.Sandbox, name: str, change: Change, *, namespace: str) -> int:
    """Change the spec of a set as `kubectl edit` does; returns the version that it has then."""
    obj = cluster.api.get(*LWS, name, namespace=namespace)
    change(obj)
    body = [{"op": "replace", "path": "/spec", "value": obj["spec"]}]
    stored = cluster.api.patch(*LWS, name, namespace=namespace, body=body, patch_type="json")
    return int(stored["metadata"]["resourceVersion"])


def workloads(cluster: sandbox.Sandbox, *, namespace: str) -> dict[str, dict[str, str]]:
    """Return the UIDs of the Workloads of each set by group; two of one group cannot be."""
    found: dict[str, dict[str, str]] = {}
    for obj in cluster.api.list(*WORKLOAD, namespace=namespace):
        annotations = obj["metadata"]["annotations"]
        mine = found.setdefault(annotations[names.JOB_OWNER_NAME], {})
        group = annotations[names.COMPONENT_WORKLOAD_INDEX]
        assert group not in mine, f"two Workloads of group {group}"
        mine[group] = obj["metadata"]["uid"]
    return found


def wait(
    cluster: sandbox.Sandbox,
    members: Sequence[Member],
    *,
    namespace: str,
    timeout: float,
    new: bool = True,
) -> dict[str, Object]:
    """Wait until all members are available and no surge is left; return those that are.

    The Workloads follow, so they are waited for as well: exactly one a group.
    """
    wanted = {m.name: (m.new if new else m.body)["spec"]["replicas"] for m in members}
    seen: dict[str, Object] = {}

    def settled(found: Mapping[str, Object]) -> bool:
        seen.clear()
        seen.update(
            (name, found[name])
            for name, groups in wanted.items()
            if sets.is_available(found.get(name), groups)
        )
        return len(seen) == len(wanted)

    with contextlib.suppress(client.WaitTimeoutError):
        cluster.api.wait_for_all(*LWS, settled, namespace=namespace, timeout=timeout)
    total: int = sum(wanted[name] for name in seen)

    def one_each(found: Mapping[str, Any]) -> bool:
        of = [one["metadata"]["annotations"].get(names.JOB_OWNER_NAME) for one in found.values()]
        return sum(name in seen for name in of) == total

    with contextlib.suppress(client.WaitTimeoutError):
        cluster.api.wait_for_all(*WORKLOAD, one_each, namespace=namespace, timeout=60)
    return dict(seen)
