"""A quiet tenant: one set that is scaled from one group to two and back, and what that took.

When things happened is read in the audit log of the API server, so that it is no matter how busy
whoever looks is.
"""

import datetime
import functools
import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from lws_kueue.api import names
from lws_kueue.manager.leader import election
from tests.kit.judge import budget
from tests.kit.live import harness

Object = dict[str, Any]

SET: Final = "quiet"
WORKLOAD: Final = (names.KUEUE_API_VERSION, "Workload")
# Something went wrong altogether if it takes longer.
TIMEOUT: Final = 120.0
OURS: Final = "lws-kueue"
# Before one request for the quiet one come so many for another at most. Those that have a slot, a
# few passes that have a worker, and what they do while an event is on its way; where nobody takes
# turns it is all that another one has to do, which are thousands.
MOST_OTHERS: Final = 250
LEASE: Final = (election.LEASES.api_version, election.LEASES.kind, "b8b2488c.x-k8s.io")
# As deploy/manager has it.
ELECTED: Final = (
    "--leader-elect=true",
    "--leader-elect-lease-duration=10s",
    "--leader-elect-renew-deadline=8s",
)
SETS: Final = "leaderworkersets"
NO_STEP: Final = ("pods/status", "pods/binding", "statefulsets/status", f"{SETS}/status")


@dataclass(frozen=True, slots=True)
class Growth:
    """One growth, from the edit to the last pod that was released.

    ``parts`` are the seconds in which one party was waited for, by who that was; ``others`` is how
    many requests the controller made at most for another namespace before one that was its turn.
    """

    parts: Mapping[str, float]
    others: int

    @property
    def seconds(self) -> float:
        """How long it took."""
        return sum(self.parts.values())


class Quiet:
    """The tenant, with a namespace and a queue of its own."""

    def __init__(self, cluster: sandbox.Sandbox, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def settle_in(self) -> None:
        """Make the set and wait until its one group is ready."""
        queue = harness.queues(self.cluster, namespace=self.namespace, cpu="10")
        made = harness.leader_worker_set(
            SET, namespace=self.namespace, replicas=1, size=2, queue=queue
        )
        self.cluster.api.create(made)
        harness.wait_ready(self.cluster, SET, namespace=self.namespace, groups=1)

    def grows(self, *, beside: str = "") -> Growth:
        """Scale from one group to two, wait until both run, and say what it took."""
        since = audit.position(self.cluster)
        harness.scale(self.cluster, SET, namespace=self.namespace, replicas=2)
        harness.wait_pods(
            self.cluster,
            lambda pods: len(pods) == 4 and not any(map(harness.gates, pods.values())),
            namespace=self.namespace,
            what="both groups are released",
            timeout=TIMEOUT,
        )
        return growth(audit.requests(self.cluster, since=since), self.namespace, beside=beside)

    def shrinks(self) -> None:
        """Scale back to one group and wait until nothing is left of the other one."""
        harness.scale(self.cluster, SET, namespace=self.namespace, replicas=1)
        for kind, number in ((("v1", "Pod"), 2), (WORKLOAD, 1)):
            self.cluster.api.wait_for_all(
                *kind,
                functools.partial(_are, number),
                namespace=self.namespace,
                timeout=TIMEOUT,
                what="one group is left",
            )


def _are(number: int, seen: Mapping[str, Object]) -> bool:
    return len(seen) == number


def growth(requests: list[audit.Request], namespace: str, *, beside: str) -> Growth:
    """Read what a growth took from all requests since before its edit.

    Each step is one of those who do it; the time since the step before it was their time.
    """
    requests = sorted(requests, key=lambda one: one.received)
    written = [
        one for one in requests if one.namespace == namespace and one.is_write and one.status < 300
    ]
    begin = next(n for n, one in enumerate(written) if one.resource.endswith("/scale"))
    releases = [n for n, one in enumerate(written) if _by_us(one) and _is_release(one)]
    steps = [
        one
        for one in written[begin : releases[-1] + 1]
        if one.resource.split("/")[0] in ("pods", "statefulsets", "workloads", SETS)
        # Neither is a step: nobody waits for what kubelets and the scheduler say of other pods.
        and one.resource not in NO_STEP
    ]
    parts: dict[str, float] = defaultdict(float)
    for before, after in itertools.pairwise(steps):
        parts[_who(after)] += (_at(after) - _at(before)).total_seconds()
    theirs = [one.received for one in requests if _by_us(one) and one.namespace == beside]
    others = [
        sum(before.received < at < after.received for at in theirs)
        for before, after in itertools.pairwise(steps)
        if _by_us(after)
    ]
    return Growth(parts, max(others))


def _by_us(request: audit.Request) -> bool:
    return request.user_agent == budget.USER_AGENT


def _is_release(request: audit.Request) -> bool:
    return request.verb == "patch" and request.resource == "pods"


def _who(request: audit.Request) -> str:
    if _by_us(request):
        return OURS
    return "StatefulSets" if "controller-manager" in request.user_agent else "Kueue"


def _at(request: audit.Request) -> datetime.datetime:
    return datetime.datetime.fromisoformat(request.received)


def renewals(requests: list[audit.Request]) -> list[float]:
    """Return the seconds between one renewal of the controller's Lease and the next."""
    times = [
        _at(one)
        for one in sorted(requests, key=lambda one: one.received)
        if one.resource == "leases" and one.is_write and one.status < 300 and _by_us(one)
    ]
    return [(b - a).total_seconds() for a, b in itertools.pairwise(times)]
