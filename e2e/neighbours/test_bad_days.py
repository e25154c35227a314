"""An API server on a bad day: two seconds a write, or busy, or failing now and then.

A set comes up, grows, rolls and goes all the same, nothing is done twice, and the Lease is kept.
"""

import contextlib
import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from lws_kueue_lab import sandbox

from lws_kueue.manager.leader import election
from lws_kueue.runtime import memory, work_queue
from tests.kit import polling
from tests.kit.judge import budget
from tests.kit.kueue import queued
from tests.kit.live import harness, proxy
from tests.kit.lws import checks, sets
from tests.kit.lws.sample import LWS, rollout

pytestmark = pytest.mark.row("NBR-07")

Object = dict[str, Any]
SIZE, GROUPS, MORE = 2, 3, 4
PATIENCE = 150.0
LEASE = (election.LEASES.api_version, election.LEASES.kind, "b8b2488c.x-k8s.io")
HOME = "lws-kueue-system"
LEADS = "This process leads"

# What a request that is on its way may take to arrive, on a machine that is busy.
ON_ITS_WAY = 0.5
PAUSE = 2


@dataclass(frozen=True, slots=True)
class Day:
    """A controller that reaches the API server through a proxy, and a set in a queue."""

    cluster: sandbox.Sandbox
    namespace: str
    queue: str
    controller: harness.ControllerProcess
    proxy: proxy.Proxy

    def lease(self) -> tuple[str, int]:
        """Who holds the Lease, and how often it has changed hands."""
        spec = self.cluster.api.get(*LEASE, namespace=HOME)["spec"]
        return spec["holderIdentity"], spec.get("leaseTransitions", 0)

    def live(self) -> None:
        """Bring a set up, let it grow, roll it and delete it; the Lease is never lost."""
        before = self.lease()
        everything = rollout(unavailable=MORE)
        one = queued.create(
            self.cluster,
            namespace=self.namespace,
            queue=self.queue,
            replicas=GROUPS,
            size=SIZE,
            rolloutStrategy=everything,
        )
        one.wait_ready(GROUPS, timeout=PATIENCE)
        harness.scale(self.cluster, one.name, namespace=self.namespace, replicas=MORE)
        one.wait_ready(MORE, timeout=PATIENCE)
        template = {"metadata": {"labels": {"edited": "yes"}}}
        body = {"spec": {"leaderWorkerTemplate": {"workerTemplate": template}}}
        self.cluster.api.patch(*LWS, one.name, namespace=self.namespace, body=body)
        sets.wait_available(one, groups=MORE, timeout=PATIENCE)
        assert all(pod["metadata"]["labels"]["edited"] == "yes" for pod in one.pods().values())
        # The revision from before goes, and a copy of it is kept, once nobody can be made of it.
        polling.trying(timeout=PATIENCE)(lambda: checks.revisions(one, count=1))
        one.delete_and_leave_nothing()
        assert self.controller.running
        assert self.lease() == before

    def did_everything_once(self) -> None:
        """What was done, by the API server's own account: each thing as often as it is needed."""
        found = budget.settled(self.cluster, namespace=self.namespace)
        done = Counter((w.verb, w.resource) for w in found if w.status < 300)
        told = budget.summary(found)
        # Of the template, of the edited one, and of the first one kept for `rollout undo`.
        assert done["create", "controllerrevisions"] == 3, told
        assert done["delete", "controllerrevisions"] == 1, told
        assert done["create", "services"] == 1, told
        assert done["create", "workloads"] == MORE, told
        # Each group is made, and once more by the update.
        assert done["create", "statefulsets"] == MORE + MORE, told
        assert done["patch", "pods"] == (MORE + MORE) * SIZE, told
        # The StatefulSet controller replaces some of the leaders.
        assert done["delete", "pods"] <= MORE, told
        # A guard that refuses costs one more look.
        refused = [w for w in found if w.status >= 300]
        assert {w.status for w in refused} <= {404, 409}, told
        assert len(refused) <= len(found) - len(refused), told


@pytest.fixture
def bad_day(
    installed: sandbox.Sandbox,
    namespace: str,
    queue: str,
    controller: harness.ControllerProcess,
    tmp_path: Path,
) -> Iterator[Any]:
    """Start a controller behind a proxy with faults, in place of the one that tests share."""
    controller.stop()
    straight = installed.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    with contextlib.ExitStack() as stack:

        def start(fault_of: proxy.FaultOf) -> Day:
            through = proxy.between(straight, tmp_path, fault_of=fault_of)
            kubeconfig, between = stack.enter_context(through)
            process = harness.ControllerProcess(
                kubeconfig=kubeconfig,
                log=tmp_path / "controller.log",
                arguments=("--leader-elect=true",),
            )
            stack.callback(lambda: print(process.tail(200)))
            stack.callback(process.kill)
            process.start(until=LEADS, patience=60)
            return Day(installed, namespace, queue, process, between)

        yield start
    installed.api.delete(*LEASE, namespace=HOME, missing_ok=True)


def slow(_: int, __: web.Request) -> proxy.Fault | None:
    return proxy.Fault(delay=2.0)


def failing(number: int, _: web.Request) -> proxy.Fault | None:
    if number % 12 == 5:
        return proxy.Fault(status=429, pause=PAUSE)
    if number % 12 == 9:
        return proxy.Fault(status=500)
    if number % 12 == 11:
        return proxy.Fault(status=500, afterwards=True)
    return None


@pytest.mark.long
def test_a_set_lives_where_each_write_takes_two_seconds(bad_day: Any) -> None:
    day: Day = bad_day(slow)
    day.live()
    day.did_everything_once()
    assert "could not be renewed" not in day.controller.log.read_text()


@pytest.mark.long
def test_a_set_lives_where_writes_are_put_off_or_fail_and_a_pause_is_kept(bad_day: Any) -> None:
    day: Day = bad_day(failing)
    day.live()
    day.did_everything_once()
    kinds = Counter((h.fault.status, h.fault.afterwards) for h in day.proxy.heard if h.fault)
    assert min(kinds[429, False], kinds[500, False], kinds[500, True]) >= 2, kinds
    for pause, after in pauses(day.proxy.heard):
        early = [h for h in after if ON_ITS_WAY < h.at - pause.at < PAUSE]
        assert not early, f"after {pause}: {early}"


# What a write may be refused with as if its object had moved on, and does not tell that it has not.
REFUSED = {
    "a patch that finds nothing": ("PATCH", "/statefulsets/", 404, "FailedUpdate"),
    "a patch that finds another version": ("PATCH", "/statefulsets/", 409, "FailedUpdate"),
    "a creation of what exists, and is not there": ("POST", "/workloads", 409, "FailedCreate"),
}
# The back-off before the sixth attempt is 0.2, 0.4, 0.8, 1.6 and 3.2 s. What happens beside it has
# a pass come before its time, so it is told by the longest pause, and by what the log says of each.
ATTEMPTS, AT_LEAST = 6, 1.5
SAID = re.compile(r"/(\S+): looked at again in (\S+) s")


@pytest.mark.row("WAR-06")
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_like_an_outdated_guard_is_tried_with_pauses_and_told(
    bad_day: Any, what: str
) -> None:
    method, part, status, reason = REFUSED[what]
    refusing = threading.Event()

    def fault_of(_: int, request: web.Request) -> proxy.Fault | None:
        # Sets of other tests may be there; until this is set, nobody knows the namespace.
        if not refusing.is_set() or request.method != method:
            return None
        ours = f"/namespaces/{day.namespace}{part}" in request.path
        return proxy.Fault(status=status) if ours else None

    day: Day = bad_day(fault_of)
    begun = day.controller.log.stat().st_size
    if method == "POST":
        refusing.set()
    one = queued.create(
        day.cluster, namespace=day.namespace, queue=day.queue, replicas=1, size=SIZE
    )
    if method == "PATCH":
        one.wait_ready(1, timeout=PATIENCE)
        begun = day.controller.log.stat().st_size
        refusing.set()
        harness.scale(day.cluster, one.name, namespace=day.namespace, replicas=2)

    def attempts() -> dict[str, list[float]]:
        """When each object was tried to be written, and was refused."""
        heard = [(h.path, h.at) for h in day.proxy.heard if h.fault is not None]
        return {path: [at for of, at in heard if of == path] for path, _ in heard}

    def enough() -> None:
        found = attempts()
        assert found
        for tried in found.values():
            assert len(tried) >= ATTEMPTS
            assert max(after - before for before, after in itertools.pairwise(tried)) >= AT_LEAST

    polling.trying(timeout=PATIENCE)(enough)
    found = attempts()
    log = day.controller.log.read_bytes()[begun:].decode()
    said = [float(delay) for name, delay in SAID.findall(log) if name == one.name]
    # A pause after each attempt, but for the few that find their object changed meanwhile.
    assert max(map(len, found.values())) <= len(said) + memory.MOST_FRUITLESS, (found, said)
    for before, after in itertools.pairwise(said):
        assert after in (2 * before, work_queue.FIRST_BACKOFF), said
    one.wait_warning(reason, "a bad day")
    refusing.clear()
    one.wait_ready(1 if method == "POST" else 2, timeout=PATIENCE)


def pauses(heard: list[proxy.Heard]) -> Iterator[tuple[proxy.Heard, list[proxy.Heard]]]:
    """Each answer that asked for a pause, with the writes that came after it.

    The Lease has a connection of its own, which keeps shorter pauses.
    """
    work = [h for h in heard if h.method in proxy.WRITES and "/leases" not in h.path]
    for index, one in enumerate(work):
        if one.fault is not None and one.fault.status == 429:
            yield one, list(itertools.islice(work, index + 1, None))
