"""`kubectl lws rollout undo` on a cluster: with a queue and without, after an update and within."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lws_kueue_lab import sandbox

from e2e.kubectl.conftest import run, said
from lws_kueue.api import names
from lws_kueue.controller.revision import revisions as contents
from tests.kit import polling
from tests.kit.kueue import queued
from tests.kit.live import harness
from tests.kit.lws import checks

pytestmark = pytest.mark.usefixtures("controller")

eventually = polling.trying(timeout=120, every=0.25)


def a_set(cluster: sandbox.Sandbox, namespace: str, *, queue: str | None) -> queued.Queued:
    """A set of two groups of two pods that are ready."""
    if queue is not None:
        harness.queues(cluster, namespace=namespace, cpu="5")
    cluster.api.create(
        harness.leader_worker_set(
            "demo", namespace=namespace, queue=queue, replicas=2, size=2, cpu="100m"
        )
    )
    one = queued.Queued(cluster, namespace, "demo")
    one.wait_ready(2)
    return one


def relabel(one: queued.Queued, value: str) -> None:
    """Change the template of the workers, and with it the revision."""
    metadata = {"labels": {"version": value}}
    one.patch({"leaderWorkerTemplate": {"workerTemplate": {"metadata": metadata}}})


def partition(one: queued.Queued, value: int) -> None:
    """Let updates reach the groups from this one on."""
    one.patch({"rolloutStrategy": {"rollingUpdateConfiguration": {"partition": value}}})


def is_at(one: queued.Queued, key: str) -> Callable[[], None]:
    """Every group is ready at a revision, and it is the only one that LWS would find."""

    def holds() -> None:
        checks.condition(one, "Available")
        checks.revisions(one, count=1)
        (revision,) = one.revisions()
        assert revision["metadata"]["labels"][names.REVISION_KEY] == key
        pods = one.pods().values()
        assert len(pods) == 4
        assert {pod["metadata"]["labels"][names.REVISION_KEY] for pod in pods} == {key}

    return holds


def key_of(one: queued.Queued) -> str:
    """The key of the one revision that there is."""
    (revision,) = one.revisions()
    return str(revision["metadata"]["labels"][names.REVISION_KEY])


def kept(one: queued.Queued) -> list[str]:
    """The keys of the copies that are kept, in the order of their numbers."""
    found = one.cluster.api.list(
        "apps/v1",
        "ControllerRevision",
        namespace=one.namespace,
        label_selector=names.KEPT_REVISION,
    )
    ordered = sorted(found, key=lambda obj: int(obj["revision"]))
    return [obj["metadata"]["labels"][names.REVISION_KEY] for obj in ordered]


def rows(kubeconfig: Path, one: queued.Queued) -> list[tuple[str, str, int]]:
    """What is shown of each revision: its key, its state, and how many groups are at it."""
    text = said(kubeconfig, "rollout", "history", one.name, "-o", "json", namespace=one.namespace)
    return [(row["key"], row["state"], row["groups"]) for row in yaml.safe_load(text)["revisions"]]


@pytest.mark.parametrize("queue", ["user-queue", None], ids=["in a queue", "in no queue"])
def test_a_finished_update_is_taken_back_and_brought_again(
    installed: sandbox.Sandbox, namespace: str, queue: str | None
) -> None:
    admin = installed.kubeconfig
    one = a_set(installed, namespace, queue=queue)
    first = key_of(one)
    nothing = run(admin, "rollout", "undo", one.name, namespace=namespace)
    assert nothing.status == 1
    assert "demo has no revision to go back to" in nothing.err
    before = one.get()["spec"]

    relabel(one, "2")
    second = checks.revision_key(one.get())
    eventually(is_at(one, second))
    assert kept(one) == [first]
    assert rows(admin, one) == [(second, "current", 2), (first, "kept", 0)]
    generation = one.get()["metadata"]["generation"]
    shown = said(admin, "rollout", "undo", one.name, "--dry-run", namespace=namespace)
    assert "-        version: '2'" in shown
    assert one.get()["metadata"]["generation"] == generation

    pods = {pod["metadata"]["uid"] for pod in one.pods().values()}
    done = said(admin, "rollout", "undo", one.name, namespace=namespace)
    assert done == f"demo goes back to revision 1 ({first})\n"
    assert contents.data_of_spec(one.get()["spec"]) == contents.data_of_spec(before)
    eventually(is_at(one, first))
    assert not pods & {pod["metadata"]["uid"] for pod in one.pods().values()}
    eventually(lambda: _kept(one, [second]))

    said(admin, "rollout", "undo", one.name, namespace=namespace)
    eventually(is_at(one, second))
    if queue is not None:
        assert all(queued.is_true(found, "Admitted") for found in one.workloads().values())


@pytest.mark.parametrize("queue", ["user-queue", None], ids=["in a queue", "in no queue"])
def test_an_update_is_taken_back_where_it_is(
    installed: sandbox.Sandbox, namespace: str, queue: str | None
) -> None:
    admin = installed.kubeconfig
    one = a_set(installed, namespace, queue=queue)
    first, held = key_of(one), one.uids_of(0)
    # Group 0 is out of the reach of the update, so that stays half done.
    partition(one, 1)
    relabel(one, "2")
    second = checks.revision_key(one.get())

    def half() -> None:
        assert rows(admin, one) == [(second, "updating", 1), (first, "outdated", 1)]
        checks.condition(one, "Available")

    eventually(half)
    said(admin, "rollout", "undo", one.name, namespace=namespace)
    assert checks.revision_key(one.get()) == first
    # A partition keeps the StatefulSet from settling, and revisions that it may need.
    partition(one, 0)
    eventually(is_at(one, first))
    assert one.uids_of(0) == held
    assert kept(one) == [second]
    assert rows(admin, one) == [(first, "current", 2), (second, "kept", 0)]


def _kept(one: queued.Queued, keys: list[str]) -> None:
    assert kept(one) == keys
