"""What a revision holds is what groups are (lws-contract 3.3 and 3.5; CTL-41, 42, 44 and 49)."""

import datetime

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.lws import checks, sample

pytestmark = pytest.mark.usefixtures("controller")


def _halted(
    cluster: sandbox.Sandbox, namespace: str, *, size: int, then: dict[str, int]
) -> sample.Sample:
    """Return a set whose update has come as far as group 3, with leader 0 made anew meanwhile."""
    one = sample.create(cluster, namespace, replicas=4, size=size, held=True)
    checks.eventually(one.release, 0, 1, 2, 3)
    checks.eventually(checks.condition, one, "Available")
    before = one.leader(0)["metadata"]["uid"]
    one.change_templates("2", worker="worker-2", **then)
    checks.eventually(checks.stage, one, expected=(3, 4, 3, 1))
    old_set = one.worker_sets()[0]["metadata"]["uid"]
    one.delete_pod("test-sample-0")

    def leader_and_workers_are_back() -> None:
        assert one.leader(0)["metadata"]["uid"] != before
        assert one.worker_sets()[0]["metadata"]["uid"] != old_set

    checks.eventually(leader_and_workers_are_back)
    return one


def _shape(worker_set: sample.Object) -> tuple[str, str, str, int]:
    """Return key, container, size annotation and replicas of a worker StatefulSet."""
    template = worker_set["spec"]["template"]
    return (
        worker_set["metadata"]["labels"][names.REVISION_KEY],
        template["spec"]["containers"][0]["name"],
        template["metadata"]["annotations"][names.SIZE],
        worker_set["spec"]["replicas"],
    )


@pytest.mark.usefixtures("played")
@pytest.mark.row("CTL-41")
def test_a_group_that_restarts_below_the_partition_comes_back_as_it_was(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = _halted(installed, namespace, size=2, then={})
    new = checks.revision_key(one.get())
    (old,) = {r["metadata"]["labels"][names.REVISION_KEY] for r in one.revisions()} - {new}
    shapes = {group: _shape(found) for group, found in one.worker_sets().items()}
    outdated = (old, "worker", "2", 1)
    assert shapes == {0: outdated, 1: outdated, 2: outdated, 3: (new, "worker-2", "2", 1)}
    checks.revisions(one, count=2)
    one.release(0)
    for group in (3, 2, 1, 0):
        checks.eventually(checks.stage, one, expected=(group, 4, 3, 4 - group))
        one.release(group)
    checks.eventually(checks.condition, one, "Available")
    checks.eventually(checks.revisions, one, count=1)
    checks.worker_sets(one)


@pytest.mark.long
@pytest.mark.usefixtures("played")
@pytest.mark.row("CTL-42")
def test_a_group_that_restarts_below_the_partition_keeps_its_size(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    one = _halted(installed, namespace, size=4, then={"size": 2})
    shapes = {group: _shape(found)[1:] for group, found in one.worker_sets().items()}
    assert shapes == {
        0: ("worker", "4", 3),
        1: ("worker", "4", 3),
        2: ("worker", "4", 3),
        3: ("worker-2", "2", 1),
    }


@pytest.mark.row("CTL-44", "ACC-6")
def test_a_leader_set_at_a_key_without_a_revision_gets_one_once(
    installed: sandbox.Sandbox, namespace: str
) -> None:
    # As a controller leaves it that knows no revisions: on the StatefulSet and in its template. A
    # label on the StatefulSet alone is somebody's edit, and is set back (docs/compatibility.md).
    one = sample.create(installed, namespace)
    checks.eventually(checks.condition, one, "Available")
    labelled: sample.Object = {"metadata": {"labels": {names.REVISION_KEY: "template-hash"}}}
    body = labelled | {"spec": {"template": labelled}}
    installed.api.patch("apps/v1", "StatefulSet", one.name, namespace=namespace, body=body)
    text = "Creating missing revision with key template-hash for existing LeaderWorkerSet"
    checks.eventually(checks.event, one, "CreatingRevision", text)

    def is_at_that_key() -> list[str]:
        checks.condition(one, "Available")
        checks.revisions(one, count=1)
        checks.stage(one, expected=(0, 2, 2, 2))
        (revision,) = one.revisions()
        assert revision["metadata"]["labels"][names.REVISION_KEY] == "template-hash"
        leaders = [one.leader(group)["metadata"] for group in (0, 1)]
        for meta in leaders:
            assert meta["labels"][names.REVISION_KEY] == "template-hash"
        return [meta["uid"] for meta in leaders]

    settled = checks.eventually(is_at_that_key)
    # One more change is carried out, and replaces nothing again.
    one.scale(3)
    checks.eventually(checks.stage, one, expected=(0, 3, 3, 3))
    checks.eventually(checks.condition, one, "Available")
    checks.revisions(one, count=1)
    assert [one.leader(group)["metadata"]["uid"] for group in (0, 1)] == settled


def _rested(one: sample.Sample) -> None:
    """The status was not written for a while, so that the next change is written at once.

    Within a second of a write the status waits, and tells of what has become of a change by then.
    """
    written = [
        datetime.datetime.fromisoformat(entry["time"])
        for entry in one.get()["metadata"]["managedFields"]
        if entry.get("subresource") == "status"
    ]
    age = datetime.datetime.now(datetime.UTC) - max(written)
    assert age > datetime.timedelta(seconds=2)


@pytest.mark.long
@pytest.mark.row("CTL-49", "ACC-2", "ACC-4", "ACC-6")
def test_a_new_size_is_an_update(installed: sandbox.Sandbox, namespace: str) -> None:
    one = sample.create(installed, namespace, size=3)
    checks.eventually(checks.condition, one, "Available")
    checks.eventually(_rested, one)
    one.patch({"leaderWorkerTemplate": {"size": 4}})
    text = "Rolling Upgrade is in progress, with 2 groups ready of total 2 groups"
    checks.eventually(checks.event, one, "GroupsUpdating", text)
    checks.eventually(checks.stage, one, expected=(0, 2, 2, 2))
    checks.eventually(checks.condition, one, "Available")
    checks.worker_sets(one)
    checks.eventually(checks.pods, one)
    checks.eventually(checks.revisions, one, count=1)
    assert [found["spec"]["replicas"] for found in one.worker_sets().values()] == [3, 3]
