"""A cluster for tests of one Kueue after the other."""

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue, kueue_settings, lws_manager, manager

from tests.kit.live import harness


class Place:
    """A cluster with a controller, and a Kueue that is set up anew as often as a test likes."""

    def __init__(
        self, cluster: sandbox.Sandbox, controller: harness.ControllerProcess, *, mode: kueue.Mode
    ) -> None:
        self.cluster = cluster
        self.controller = controller
        self._mode = mode
        self._running = contextlib.ExitStack()

    def kueue(self, settings: kueue_settings.KueueSettings) -> None:
        """Stop Kueue, and start it with other settings; the controller is away meanwhile.

        In a real cluster Kueue's webhooks stay while it restarts, and refuse what they cannot see.
        Here they go with it, and the controller would take it that they are off.
        """
        if self.controller.running:
            self.controller.stop()
        self._start(settings)
        self.controller.start()

    def close(self) -> None:
        self._running.close()

    def _start(self, settings: kueue_settings.KueueSettings) -> None:
        self.close()
        self._running.enter_context(kueue.start(self.cluster, mode=self._mode, settings=settings))


class PlaceOfOthers(Place):
    """A cluster in which LWS's own manager makes the groups; its controller never runs."""

    def kueue(self, settings: kueue_settings.KueueSettings) -> None:
        """Stop Kueue, and start it with other settings; there are to be no sets meanwhile.

        Kueue's webhooks go with it, and what is made then is not marked.
        """
        self._start(settings)


@contextlib.contextmanager
def opening(
    backend: sandbox.Backend,
    *,
    folder: Path,
    mode: kueue.Mode,
    nodes: int = 4,
    audit_log: bool = False,
    configuration: Mapping[str, Any] | None = None,
) -> Iterator[Place]:
    """Open a place; the folder is for the controller's log, ``configuration`` for the controller.

    What is ended is ended in any case: a controller of a test that fails would go on for ever.
    """
    options = sandbox.Options(nodes=nodes, audit_log=audit_log)
    with sandbox.open(backend, options=options) as cluster:
        harness.install(cluster)
        process = harness.ControllerProcess(
            kubeconfig=cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=folder / "controller.log",
            configuration=configuration,
        )
        place = Place(cluster, process, mode=mode)
        try:
            yield place
        finally:
            process.kill()
            place.close()


@contextlib.contextmanager
def opening_of_others(
    backend: sandbox.Backend,
    *,
    folder: Path,
    source: manager.Source,
    nodes: int = 4,
    audit_log: bool = False,
) -> Iterator[Place]:
    """Open a place that LWS's manager serves, beside a real Kueue; nothing of ours is installed."""
    options = sandbox.Options(nodes=nodes, audit_log=audit_log)
    with sandbox.open(backend, options=options) as cluster:
        never = harness.ControllerProcess(
            kubeconfig=cluster.kubeconfig, log=folder / "controller.log"
        )
        place = PlaceOfOthers(cluster, never, mode="manager")
        with lws_manager.run(cluster, source=source), contextlib.closing(place):
            yield place


def room(place: Place, request: pytest.FixtureRequest) -> str:
    """Make a namespace for a test in the place's own cluster."""
    slug = re.sub(r"[^a-z]+", "-", str(request.node.name))[5:35].strip("-")
    return harness.make_namespace(place.cluster, f"{slug}-{secrets.token_hex(3)}")
