"""Edits for which there is no quota, edits that are taken back, and a second one half-way."""

import contextlib
import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.judge import ledger
from tests.kit.kueue import fleet, queued
from tests.kit.live import harness
from tests.kit.lws import checks, sets
from tests.kit.lws.sample import Object
from tests.kit.tables import edits

pytestmark = pytest.mark.usefixtures("controller")

NAME = "serve"
# The rollout gives a group that waits some seconds before it stops to count on it.
LONG_ENOUGH = datetime.timedelta(seconds=8)


@dataclass(slots=True)
class Story:
    """A set in a queue of its own, and all that happened to it."""

    cluster: sandbox.Sandbox
    namespace: str
    record: harness.Recording
    member: fleet.Member
    since: int = 0

    def edit(self, change: fleet.Change) -> None:
        """Change the set; from the first change on it is watched how many groups are down."""
        version = fleet.edit(self.cluster, NAME, change, namespace=self.namespace)
        self.since = self.since or version

    def wait(self, holds: Callable[[Object], Any], *, what: str) -> Object:
        """Wait until something holds for the set, whose status tells of its spec as it is now."""
        return harness.wait_status(
            self.cluster, NAME, holds, namespace=self.namespace, what=what, timeout=90
        )

    def wait_available(self, groups: int) -> None:
        """Wait until all groups are ready as the set says."""
        self.wait(lambda seen: sets.is_available(seen, groups), what=f"{groups} groups available")

    def wait_told(self, text: str) -> None:
        """Wait until the set says that groups wait, and for what."""
        self.wait(
            lambda seen: (
                text in (harness.condition(seen, "WaitingForAdmission") or {}).get("message", "")
            ),
            what=f"WaitingForAdmission with {text!r}",
        )

    def wait_updated(self, groups: int) -> None:
        """Wait until so many groups are at the new revision, and not all are."""
        found = self.wait(
            lambda seen: seen["status"].get("updatedReplicas", 0) >= groups,
            what=f"{groups} groups updated",
        )
        assert found["status"]["updatedReplicas"] < found["spec"]["replicas"], "not half-way"

    def wait_all_but_one(self) -> set[str]:
        """Wait until all groups run but one, which waits for quota; return which one it is."""
        groups = self.member.body["spec"]["replicas"]
        self.cluster.api.wait_for_all(
            *fleet.WORKLOAD,
            lambda seen: (
                len(seen) == groups and sum(map(ledger.admitted, seen.values())) == groups - 1
            ),
            namespace=self.namespace,
            timeout=60,
            what="a Workload for each group, all but one of them admitted",
        )
        harness.wait_ready(self.cluster, NAME, namespace=self.namespace, groups=groups - 1)
        return self.waiting()

    def workloads(self) -> dict[str, str]:
        """Return the UIDs of the Workloads by group."""
        return fleet.workloads(self.cluster, namespace=self.namespace)[NAME]

    def pods(self) -> dict[str, Object]:
        """Return the pods by name."""
        return harness.pods(self.cluster, namespace=self.namespace)

    def was_admitted(self, uid: str) -> bool:
        """Whether a Workload has been admitted at any time that was recorded."""
        return any(
            queued.is_true(event["object"], "Admitted")
            for event in self.record.events
            if event["object"]["metadata"]["uid"] == uid
        )

    def waiting(self) -> set[str]:
        """Return the groups whose Workload is not admitted."""
        return {
            obj["metadata"]["annotations"][names.COMPONENT_WORKLOAD_INDEX]
            for obj in self.cluster.api.list(*fleet.WORKLOAD, namespace=self.namespace)
            if not ledger.admitted(obj)
        }

    def wait_long_enough(self) -> None:
        """Wait until the youngest Workload is so old that a rollout has got tired of it."""

        def old() -> None:
            now = datetime.datetime.now(datetime.UTC)
            found = self.cluster.api.list(*fleet.WORKLOAD, namespace=self.namespace)
            times = [obj["metadata"]["creationTimestamp"] for obj in found]
            assert now - datetime.datetime.fromisoformat(max(times)) >= LONG_ENOUGH

        checks.eventually(old)

    def judge(self, *, stay: int) -> None:
        """Fail if any pod ran on what was not its own, or fewer than ``stay`` groups were there."""
        book = fleet.judged(self.record.events, [self.member], {NAME: self.since})[NAME]
        assert not book.violations, "\n".join(book.violations)
        assert book.released
        assert book.fewest is not None
        assert book.fewest >= stay


Tell = Callable[..., contextlib.AbstractContextManager[Story]]


@pytest.fixture
def story(installed: sandbox.Sandbox, namespace: str) -> Tell:
    """Make the base set with some groups, in a queue with quota for them and ``headroom`` more."""

    @contextlib.contextmanager
    def tell(
        *, replicas: int, headroom: int = 0, surge: int = 0, unavailable: int = 1
    ) -> Iterator[Story]:
        body = edits.base()
        body["metadata"] = {"name": NAME, "namespace": namespace}
        body["metadata"]["labels"] = {names.QUEUE_NAME: NAME}
        body["spec"]["replicas"] = replicas
        edits.rolling(maxSurge=surge, maxUnavailable=unavailable)(body)
        # What takes a moment can be caught half-way.
        for template in sets.templates(body):
            template["metadata"] = {"annotations": dict(sets.SLOW_START)}
        member = fleet.Member(NAME, body, edits.nothing, unavailable, headroom=headroom)
        with contextlib.ExitStack() as stack:
            stack.enter_context(fleet.queues(installed, [member], namespace=namespace))
            record = stack.enter_context(fleet.recording(installed, namespace=namespace))
            installed.api.create(body)
            yield Story(installed, namespace, record, member)

    return tell


def uids(pods: dict[str, Object], group: str) -> dict[str, str]:
    """Return which pods a group has, to tell them from their successors."""
    mine = {n: p for n, p in pods.items() if p["metadata"]["labels"][names.GROUP_INDEX] == group}
    return sets.uids(mine)


def revisions(pods: dict[str, Object]) -> set[str]:
    return {pod["metadata"]["labels"][names.REVISION_KEY] for pod in pods.values()}


@pytest.mark.parametrize("surge", [0, pytest.param(1, marks=pytest.mark.long)])
def test_an_edit_that_never_fits_takes_one_group_down_and_is_undone_by_taking_it_back(
    story: Tell, surge: int
) -> None:
    with story(replicas=3, surge=surge) as it:
        it.wait_available(3)
        workloads, pods = it.workloads(), it.pods()
        it.edit(edits.requests(cpu="9"))
        it.wait_told("cpu")
        it.wait_long_enough()
        serving = ledger.available_groups(it.pods().values())
        assert len(serving) >= 2, "the others go on serving"
        it.edit(edits.requests(cpu="100m"))
        it.wait_available(3)
        it.wait(lambda seen: not harness.condition(seen, "WaitingForAdmission"), what="no waiting")
        now = it.pods()
        assert sorted(now) == sorted(pods)
        assert revisions(now) == revisions(pods)
        for group in serving:
            assert uids(now, group) == uids(pods, group), "it was never touched"
            assert it.workloads()[group] == workloads[group]
    it.judge(stay=2)


@pytest.mark.long
def test_a_group_that_waits_is_asked_for_anew_under_the_workload_that_it_has(story: Tell) -> None:
    # The group that waits is one that is down, and another one has to make room for it.
    with story(replicas=3, headroom=-1, unavailable=2) as it:
        waiting = it.wait_all_but_one()
        before = it.workloads()
        assert len(waiting) == 1
        it.edit(edits.requests(cpu="60m", memory="8Mi"))
        it.wait_available(3)
        after = it.workloads()
        kept = {group for group in before if before[group] == after[group]}
        # None that ran keeps its Workload. The one that waited loses it only if Kueue had admitted
        # it, with quota that others gave back, before it was asked for anew.
        admitted = {group for group in waiting if it.was_admitted(before[group])}
        assert waiting - admitted <= kept <= waiting
    it.judge(stay=1)


def test_an_image_reaches_groups_that_run_while_another_one_waits(story: Tell) -> None:
    with story(replicas=3, headroom=-1) as it:
        waiting = it.wait_all_but_one()
        before = it.workloads()
        image = "registry.k8s.io/pause:3.9"
        it.edit(edits.container(image=image))
        harness.wait_pods(
            it.cluster,
            lambda seen: (
                len(seen) >= 5
                and len(ledger.available_groups(seen.values())) == 2
                and {p["spec"]["containers"][0]["image"] for p in seen.values()} == {image}
            ),
            namespace=it.namespace,
            what="two ready groups, and all groups of the new image",
        )
        assert it.workloads() == before
        assert it.waiting() == waiting
    it.judge(stay=1)


@pytest.mark.long
def test_a_size_lets_no_pod_run_that_was_not_admitted(story: Tell) -> None:
    with story(replicas=2) as it:
        it.wait_available(2)
        workloads, pods = it.workloads(), it.pods()
        # One group of three and one of two are one pod too many.
        it.edit(edits.of_group(size=3))
        it.wait_told("cpu")
        it.wait_long_enough()
        (serving,) = ledger.available_groups(it.pods().values())
        it.edit(edits.of_group(size=2))
        it.wait_available(2)
        assert uids(it.pods(), serving) == uids(pods, serving)
        assert it.workloads()[serving] == workloads[serving]
        it.edit(edits.of_group(size=1))
        it.wait_available(2)
        assert sorted(it.pods()) == ["serve-0", "serve-1"]
        assert not set(it.workloads().values()) & set(workloads.values())
    it.judge(stay=1)


@pytest.mark.long
def test_a_second_edit_half_way_ends_with_all_groups_as_the_second_says(story: Tell) -> None:
    with story(replicas=4) as it:
        it.wait_available(4)
        before = it.workloads()
        it.edit(edits.requests(cpu="80m"))
        it.wait_updated(1)
        it.edit(edits.requests(cpu="60m"))
        it.wait_available(4)
        asked = {
            pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]
            for pod in it.pods().values()
        }
        assert asked == {"60m"}
        assert not set(before.values()) & set(it.workloads().values())
    it.judge(stay=3)


@pytest.mark.long
def test_an_edit_taken_back_half_way_leaves_the_groups_alone_that_it_had_not_reached(
    story: Tell,
) -> None:
    with story(replicas=4) as it:
        it.wait_available(4)
        workloads, pods = it.workloads(), it.pods()
        it.edit(edits.requests(cpu="80m"))
        it.wait_updated(1)
        it.edit(edits.requests(cpu="100m"))
        it.wait_available(4)
        now = it.pods()
        assert revisions(now) == revisions(pods)
        # The update goes from the top down.
        assert uids(now, "0") == uids(pods, "0")
        assert it.workloads()["0"] == workloads["0"]
        assert it.workloads()["3"] != workloads["3"]
    it.judge(stay=3)
