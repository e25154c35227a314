"""The controller in a sandbox: its API installed, and itself as a child with just its rights."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import lws_kueue_lab
from lws_kueue.install import install
from lws_kueue.runtime import client
from lws_kueue_lab import manifests, sandbox
from lws_kueue_lab.sandbox import audit, supervision

NAME: Final = "lws-kueue"
_NAMESPACE: Final = "lws-kueue-system"
USER: Final = f"system:serviceaccount:{_NAMESPACE}:{NAME}"

_PROGRAM: Final = (sys.executable, "-m", "lws_kueue.cli")
# It is the only one in its cluster, and others may run on this machine.
_RUN: Final = (
    *("run", "--leader-elect=false"),
    *("--metrics-bind-address=0", "--health-probe-bind-address=0"),
)

_CONFIGURATION: Final = {"apiVersion": "config.lws.x-k8s.io/v1alpha1", "kind": "Configuration"}

# What its log says when it knows all that is there, and begins.
_LISTED: Final = b"Everything is listed"
_LISTED_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.05


class Controller:
    """The running controller."""

    def __init__(self, supervisor: supervision.Supervision, command: Sequence[str]) -> None:
        self._supervisor = supervisor
        self._command = command
        self._told_before = 0

    def start(self) -> None:
        """Start it, also after `stop`."""
        log = self._supervisor.log(NAME)
        self._told_before = log.stat().st_size if log.exists() else 0
        self._supervisor.start(
            NAME, self._command, environment={"PYTHONPATH": lws_kueue_lab.python_path()}
        )

    def stop(self) -> None:
        """End it abruptly, as a crash would."""
        self._supervisor.stop(NAME)

    def wait_until_listed(self) -> None:
        """Wait until it knows all that is there.

        Raises `ComponentDiedError` if it ended, and `SandboxError` if it takes too long.
        """
        deadline = time.monotonic() + _LISTED_SECONDS
        while _LISTED not in self._supervisor.log(NAME).read_bytes()[self._told_before :]:
            self.check()
            if time.monotonic() > deadline:
                raise sandbox.SandboxError(f"the controller does not begin:\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    @property
    def pid(self) -> int:
        """The id of its process, which has to run."""
        return self._supervisor.running()[NAME]

    def check(self) -> None:
        """Raise `ComponentDiedError` if it ended."""
        self._supervisor.check()

    def log_tail(self) -> str:
        """Return the end of its log."""
        return self._supervisor.log_tail(NAME)


def install_api(cluster: sandbox.Sandbox) -> int:
    """Install the API as `lws-kueue install` does; returns the number of its policies."""

    async def run() -> list[install.Installed]:
        api = await client.Client.load(kubeconfig=str(cluster.kubeconfig))
        try:
            return await install.install(api)
        finally:
            await api.close()

    return sum(result.kind.endswith("Policy") for result in asyncio.run(run()))


@contextlib.contextmanager
def start(
    cluster: sandbox.Sandbox,
    *,
    program: Sequence[str] = _PROGRAM,
    configuration: Mapping[str, Any] | None = None,
) -> Iterator[Controller]:
    """Run the controller for as long as the context is open, however that ends.

    It has a token of the service account that an installation in a cluster has. It is not waited
    for: whatever it finds when it is up, it acts on. ``program`` is what is run in the place of the
    command line of the product, with the same arguments; ``configuration`` are sections of its
    configuration file.
    """
    # The Deployment is what a real cluster runs; here a process stands in for it.
    for obj in manifests.manager_objects():
        cluster.api.apply(obj)
    kubeconfig = cluster.service_account_kubeconfig(_NAMESPACE, NAME)
    with contextlib.closing(supervision.Supervision()) as supervisor:
        arguments = [*_RUN, "--kubeconfig", str(kubeconfig)]
        if configuration is not None:
            file = supervisor.directory / "configuration.json"
            # JSON is YAML.
            file.write_text(json.dumps({**_CONFIGURATION, **configuration}))
            arguments += ["--config", str(file)]
        running = Controller(supervisor, [*program, *arguments])
        running.start()
        yield running


def writes(cluster: sandbox.Sandbox) -> tuple[int, int]:
    """Return how many writes the controller has sent until now, and how many Events besides."""
    own = [r for r in audit.requests(cluster) if r.user == USER and r.is_write]
    events = sum(r.resource == "events" for r in own)
    return len(own) - events, events
