"""Fixtures of the controller's whole-system tests."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness


@pytest.fixture(scope="session")
def installed(cluster: sandbox.Sandbox, kueue_info: sandbox.KueueInfo) -> sandbox.Sandbox:
    """The shared cluster with the API, the policies and the service account installed."""
    harness.install(cluster)
    return cluster


@pytest.fixture(scope="session")
def shared_controller(
    installed: sandbox.Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[harness.ControllerProcess]:
    """One controller for all tests, with the rights of the deployed one and no more."""
    kubeconfig = installed.service_account_kubeconfig(*harness.SERVICE_ACCOUNT)
    log: Path = tmp_path_factory.mktemp("controller") / "controller.log"
    process = harness.ControllerProcess(kubeconfig=kubeconfig, log=log)
    process.start()
    yield process
    if process.running:
        process.stop()


@pytest.fixture
def controller(shared_controller: harness.ControllerProcess) -> Iterator[harness.ControllerProcess]:
    """The running controller; a test may stop or kill it, the next one gets it running again."""
    if not shared_controller.running:
        shared_controller.start()
    yield shared_controller
    print(shared_controller.tail())  # Shown by pytest only when the test failed.


@contextlib.contextmanager
def in_place_of(
    shared: harness.ControllerProcess, *, folder: Path, configuration: Mapping[str, Any]
) -> Iterator[harness.ControllerProcess]:
    """Run a controller with settings of its own instead of another; no two may write in a cluster.

    The other one stays stopped: the fixture ``controller`` starts it for whoever needs it.
    """
    if shared.running:
        shared.stop()
    process = harness.ControllerProcess(
        kubeconfig=shared.kubeconfig, log=folder / "controller.log", configuration=configuration
    )
    process.start()
    yield process
    process.stop()
