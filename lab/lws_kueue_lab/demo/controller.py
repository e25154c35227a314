"""The controller of the demo: its API installed, and itself as a child with just its rights."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from typing import Final

import lws_kueue_lab
from lws_kueue.install import install
from lws_kueue.runtime import client
from lws_kueue_lab import manifests, sandbox
from lws_kueue_lab.sandbox import audit, supervision

NAME: Final = "lws-kueue"
_NAMESPACE: Final = "lws-kueue-system"
_USER: Final = f"system:serviceaccount:{_NAMESPACE}:{NAME}"

# It is the only one in its cluster, and other demos may run on this machine.
_RUN: Final = (
    *(sys.executable, "-m", "lws_kueue.cli", "run"),
    *("--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0"),
)


class Controller:
    """The running controller."""

    def __init__(self, supervisor: supervision.Supervision) -> None:
        self._supervisor = supervisor

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
def start(cluster: sandbox.Sandbox) -> Iterator[Controller]:
    """Run the controller for as long as the context is open, however that ends.

    It has a token of the service account that an installation in a cluster has. It is not waited
    for: whatever it finds when it is up, it acts on.
    """
    # The Deployment is what a real cluster runs; here a process stands in for it.
    for obj in manifests.manager_objects():
        cluster.api.apply(obj)
    kubeconfig = cluster.service_account_kubeconfig(_NAMESPACE, NAME)
    with contextlib.closing(supervision.Supervision()) as supervisor:
        supervisor.start(
            NAME,
            [*_RUN, "--kubeconfig", str(kubeconfig)],
            environment={"PYTHONPATH": lws_kueue_lab.python_path()},
        )
        yield Controller(supervisor)


def writes(cluster: sandbox.Sandbox) -> tuple[int, int]:
    """Return how many writes the controller has sent until now, and how many Events besides."""
    own = [r for r in audit.requests(cluster) if r.user == _USER and r.is_write]
    events = sum(r.resource == "events" for r in own)
    return len(own) - events, events
