"""A set for each test, in a queue and plain, made by `kubectl apply` from a file."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness, running

Serve = Callable[..., running.Running]


@pytest.fixture(params=["in-a-queue", pytest.param("plain", marks=pytest.mark.long)])
def queue(request: pytest.FixtureRequest, installed: sandbox.Sandbox, namespace: str) -> str | None:
    """The queue of the set; sets without one are as much at home."""
    if request.param == "plain":
        return None
    return harness.queues(installed, namespace=namespace, cpu="4")


@pytest.fixture
def serve(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    queue: str | None,
    tmp_path: Path,
) -> Serve:
    """Make a set with `kubectl apply`, and wait until it runs."""
    assert controller.running

    def make(**options: object) -> running.Running:
        given = running.manifest(namespace, queue=queue, **options)
        made = running.Running(installed, namespace=namespace, folder=tmp_path, given=given)
        made.kubectl("apply", "-f", str(made.file))
        made.runs(groups=int(given["spec"]["replicas"]))
        return made

    return make


@pytest.fixture
def served(serve: Serve) -> running.Running:
    """A set of two groups of two that runs."""
    return serve()
