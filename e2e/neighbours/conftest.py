"""A queue for each test, as for the bridge's own tests, and webhooks that the test plays."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import keep, on_demand, queue
from tests.kit.live import harness, webhook

__all__ = ["keep", "on_demand", "queue"]

Mutate = Callable[[webhook.Change], None]


@pytest.fixture
def mutate(
    installed: sandbox.Sandbox, process_only: None, namespace: str, tmp_path: Path
) -> Iterator[Mutate]:
    """Have a webhook change the pods of the test's namespace from now on."""
    with contextlib.ExitStack() as stack:

        def start(change: webhook.Change) -> None:
            stack.enter_context(
                webhook.mutating_pods(installed, tmp_path, namespace=namespace, change=change)
            )

        yield start


@pytest.fixture
def plain_namespace(namespace: str, controller: harness.ControllerProcess) -> str:
    """The test's namespace, with the controller at work."""
    assert controller.running
    return namespace
