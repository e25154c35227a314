"""What a later Kueue may write is read and shown, and never ends in an error."""

from lws_kueue.api import kueue
from lws_kueue.workload import state
from tests.kit.builders import builders


def test_a_state_of_a_check_that_is_not_known_is_none_that_is_ready() -> None:
    checks = [{"name": "c", "state": "Paused", "message": "later", "lastTransitionTime": ""}]
    workload = builders.workload(conditions=[builders.RESERVED], status={"admissionChecks": checks})
    queues = state.Queues("q", kueue.LocalQueue.of({"metadata": {"name": "q"}}))
    why = state.why_waiting(workload, queues, {})
    assert why is not None
    assert (why.code, why.text) == ("AdmissionCheckPaused", "AdmissionCheck c is Paused: later")


def test_a_queue_that_is_stopped_in_a_way_that_is_not_known_is_stopped() -> None:
    queue = kueue.LocalQueue.of({"metadata": {"name": "q"}, "spec": {"stopPolicy": "Drain"}})
    why = state.why_waiting(builders.workload(), state.Queues("q", queue), {})
    assert why is not None
    assert (why.code, why.text) == ("LocalQueueStopped", "LocalQueue q is stopped (Drain)")
