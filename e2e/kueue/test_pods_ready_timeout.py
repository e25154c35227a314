"""Groups that do not become ready in time: back-off, another chance, and the end of patience.

How long Kueue waits is a setting of the whole Kueue, so these groups have a cluster to themselves.
"""

import secrets
from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue, kueue_settings, stages

from tests.kit.kueue import evictions, queued
from tests.kit.live import harness
from tests.kit.lws import sets

SIZE = 2
# After admission, and after pods ceased to be ready. A group that is well has to make it, also on a
# busy machine.
TIMEOUT = 8.0
RECOVERY = 2.0
LIMIT = 1
SETTINGS = kueue_settings.KueueSettings(
    wait_for_pods_ready=kueue_settings.WaitForPodsReady(
        timeout=TIMEOUT,
        recovery_timeout=RECOVERY,
        backoff_base_seconds=1,
        backoff_max_seconds=2,
        backoff_limit_count=LIMIT,
    )
)


@pytest.fixture(scope="module")
def impatient(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sandbox.Sandbox]:
    """A cluster whose Kueue waits for seconds, and a controller."""
    if backend == "kubeconfig":
        pytest.skip("needs a Kueue with settings of its own")
    with (
        sandbox.open(backend, options=sandbox.Options(nodes=2)) as opened,
        kueue.start(opened, settings=SETTINGS) as opened.kueue,
    ):
        harness.install(opened)
        kubeconfig = opened.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
        log = tmp_path_factory.mktemp("controller") / "controller.log"
        process = harness.ControllerProcess(kubeconfig=kubeconfig, log=log)
        process.start()
        yield opened
        print(process.tail())
        process.stop()


@pytest.fixture
def own(impatient: sandbox.Sandbox) -> Iterator[str]:
    """A namespace with a queue of that cluster."""
    with sets.namespaced(impatient, f"ready-{secrets.token_hex(2)}") as name:
        harness.queues(impatient, namespace=name, cpu="5")
        yield name


@pytest.mark.long
def test_a_group_that_does_not_recover_in_time_waits_and_starts_again_alone(
    impatient: sandbox.Sandbox, own: str
) -> None:
    one = queued.create(impatient, namespace=own, queue="user-queue", replicas=2, size=SIZE)
    one.wait_ready(2)
    ready = one.wait_workload(
        0, lambda seen: queued.is_true(seen, "PodsReady"), what="says that it is ready"
    )
    uid = ready["metadata"]["uid"]
    before = {group: one.uids_of(group) for group in (0, 1)}
    with evictions.story(one) as told:
        one.annotate("lws-0-1", {stages.BEHAVIOUR: stages.NEVER_READY})
        found = one.wait_given_back(0, "PodsReadyTimeout")
        assert found["status"]["requeueState"]["count"] == 1
        assert found["spec"].get("active", True)
        one.wait_gated(0, pods=SIZE)
        one.wait_ready(2)
        one.wait_running(0, pods=SIZE)
    found = one.workload(0)
    assert queued.said(found, "Requeued") == ("True", "BackoffFinished")
    recovering = {queued.said(version, "PodsReady") for version in told.versions(uid)}
    assert ("False", "WaitForRecovery") in recovering
    evictions.was_given_back_at_once(told, one, uid, reason="PodsReadyTimeout", requeued=False)
    evictions.was_stopped_once(told, one, before[0])
    assert one.uids_of(1) == before[1]


@pytest.mark.long
def test_a_group_that_is_never_ready_is_tried_again_and_then_switched_off(
    impatient: sandbox.Sandbox, own: str
) -> None:
    one = queued.create(
        impatient,
        namespace=own,
        queue="user-queue",
        size=SIZE,
        pod_annotations={stages.BEHAVIOUR: stages.NEVER_READY},
    )
    other = queued.create(impatient, "other", namespace=own, queue="user-queue", size=SIZE)
    other.wait_ready(1)
    before = other.uids_of(0)
    reason = "DeactivatedDueToRequeuingLimitExceeded"
    with evictions.story(one) as told:
        found = one.wait_given_back(0, reason, timeout=(TIMEOUT + 2) * (LIMIT + 1) + 30)
        one.wait_gated(0, pods=SIZE)
    uid = found["metadata"]["uid"]
    assert found["spec"]["active"] is False
    admitted = sets.steps(
        [queued.is_true(version, "Admitted") for version in told.versions(uid)]
    ).count(True)
    assert admitted == LIMIT + 1, "it was tried so many times"
    one.wait_told("group 0:", found["metadata"]["name"], "spec.active")
    assert not [text for why, text in one.events() if why == "RecreateGroup"]
    assert other.uids_of(0) == before
    other.wait_ready(1)
    # Activated again, it gets another chance.
    one.switch(0, active=True)
    one.wait_admitted()
