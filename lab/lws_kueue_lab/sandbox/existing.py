"""The `kubeconfig` back end: a cluster that exists already; nothing is started, only used."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lws_kueue_lab.sandbox import client, cluster


class ExistingSandbox(cluster.Sandbox):
    """A foreign cluster, such as one of kind; it has no audit log that we could read."""

    backend: cluster.Backend = "kubeconfig"

    def __init__(self, *, kubeconfig: Path, options: cluster.Options, directory: Path) -> None:
        self.options = options
        self._kubeconfig = kubeconfig
        self._directory = directory
        self._api = client.Client(kubeconfig)

    @property
    def directory(self) -> Path:
        """A private directory; all else belongs to others."""
        return self._directory

    @property
    def kubeconfig(self) -> Path:
        """The file that was given."""
        return self._kubeconfig

    @property
    def audit_log(self) -> Path | None:
        """None: it is not ours to read."""
        return None

    @property
    def api(self) -> client.Client:
        """A client with the rights of the kubeconfig."""
        return self._api


@contextlib.contextmanager
def open_existing(options: cluster.Options, *, kubeconfig: Path) -> Iterator[ExistingSandbox]:
    """Use the cluster of `kubeconfig`; `SandboxError` if there is no such file."""
    if not kubeconfig.is_file():
        raise cluster.SandboxError(f"there is no kubeconfig at {kubeconfig}")
    with tempfile.TemporaryDirectory(prefix="lws-kueue-") as directory:
        sandbox = ExistingSandbox(kubeconfig=kubeconfig, options=options, directory=Path(directory))
        with contextlib.closing(sandbox.api):
            yield sandbox
