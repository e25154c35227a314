"""What a sandbox is: its options, its interface and its errors.

Every back end (`process`, `container`, `existing`) gives the same `Sandbox`, so that the demo and
the whole-system tests never ask which one they run on.
"""

import abc
import contextlib
import dataclasses
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lws_kueue_lab.sandbox import client, credentials

Backend = Literal["process", "container", "kubeconfig"]
#: `auto`, `manager`, `standin`, `none`, or a version of Kueue such as `v0.19.2`.
KueueChoice = str
KueueKind = Literal["cluster", "manager", "standin", "none"]

PREFIX = "sandbox.lws-kueue.dev/"

# Node labels. The third level of the topology is kubernetes.io/hostname.
BLOCK_LABEL = PREFIX + "block"
RACK_LABEL = PREFIX + "rack"
HOSTNAME_LABEL = "kubernetes.io/hostname"

DEFAULT_CAPACITY: Mapping[str, str] = {
    "cpu": "8",
    "memory": "32Gi",
    "google.com/tpu": "8",
    "nvidia.com/gpu": "8",
    "pods": "110",
}


class SandboxError(Exception):
    """The sandbox could not be made ready, or is no longer what it was."""


class ComponentDiedError(SandboxError):
    """A component of the control plane ended by itself.

    The message carries the end of its log, because the log is removed with the sandbox; and `why`,
    where that is known.
    """

    def __init__(self, *, name: str, status: int | None, log_tail: str, why: str = "") -> None:
        self.name = name
        self.status = status
        self.log_tail = log_tail
        indented = "\n".join(f"    {line}" for line in log_tail.splitlines()) or "    (nothing)"
        told = f"{name} ended with status {status}{_signal(status)}"
        reason = f". {why}" if why else ""
        super().__init__(f"{told}{reason}; the end of its log:\n{indented}")


def _signal(status: int | None) -> str:
    """The name of the signal that a negative status stands for."""
    if status is None or status >= 0:
        return ""
    with contextlib.suppress(ValueError):  # Those for real time have no names.
        return f" ({signal.Signals(-status).name})"
    return ""


class UnsupportedError(SandboxError):
    """This back end cannot do what was asked, for example stop a foreign API server."""


class ToolchainError(SandboxError):
    """The programs of the sandbox are missing and could not be built."""


class NoBuilderError(ToolchainError):
    """Nothing on this machine can build the programs; the message says what to install."""


@dataclasses.dataclass(frozen=True, slots=True)
class Topology:
    """The shape of the data centre: `blocks` of `racks` each, with `hosts` nodes in a rack.

    Without `hosts` the nodes of `Options.nodes` are spread evenly over the racks.
    """

    blocks: int = 1
    racks: int = 1
    hosts: int | None = None

    def __post_init__(self) -> None:
        if self.blocks < 1 or self.racks < 1 or (self.hosts is not None and self.hosts < 1):
            raise ValueError("a topology needs at least one block, rack and host")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What kind of cluster to make; the `kubeconfig` back end uses only `kueue`.

    - `nodes`: how many, unless `topology` says how many hosts each rack has.
    - `capacity`: of every node, in the API's quantities.
    - `node_labels`: extra labels, one mapping a node in order; missing ones mean none.
    - `audit_log`: write an audit log of every request, level Metadata.
    - `client_qps`, `client_burst`: what kube-controller-manager and kube-scheduler allow
      themselves a second; far above their own defaults, which would slow every test down.
    - `feature_gates`: of Kubernetes, where they are not to be at their defaults.
    - `kueue`: `auto` takes a Kueue of the cluster, a manager named by the environment, a released
      one or the stand-in, in this order; `manager` and `standin` insist on a real one or the
      stand-in, and a version on the release of that version; `none` starts nothing.
    """

    nodes: int = 4
    capacity: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(DEFAULT_CAPACITY))
    topology: Topology | None = None
    node_labels: Sequence[Mapping[str, str]] = ()
    audit_log: bool = True
    client_qps: float = 300
    client_burst: int = 600
    feature_gates: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    kueue: KueueChoice = "none"

    def __post_init__(self) -> None:
        if self.nodes < 0:
            raise ValueError("a cluster cannot have a negative number of nodes")
        if self.client_qps <= 0 or self.client_burst <= 0:
            raise ValueError("client rate limits have to be positive")


@dataclasses.dataclass(frozen=True, slots=True)
class KueueInfo:
    """Which Kueue decides about admission in a sandbox."""

    kind: KueueKind
    version: str = ""

    def __str__(self) -> str:
        names = {
            "cluster": "Kueue of the cluster",
            "manager": "Kueue manager started by the sandbox",
            "standin": "stand-in for Kueue",
            "none": "no Kueue",
        }
        return f"{names[self.kind]} {self.version}".rstrip()


NO_KUEUE = KueueInfo(kind="none")


class Sandbox(abc.ABC):
    """A Kubernetes cluster to play with, for as long as its context is open."""

    backend: Backend
    options: Options
    #: Which Kueue serves; set by `lws_kueue_lab.sandbox.open` once it does.
    kueue: KueueInfo = NO_KUEUE

    @property
    @abc.abstractmethod
    def kubeconfig(self) -> Path:
        """The file with admin credentials; it disappears with the sandbox."""

    @property
    @abc.abstractmethod
    def audit_log(self) -> Path | None:
        """The audit log of the API server, JSON lines, or None without one."""

    @property
    @abc.abstractmethod
    def api(self) -> client.Client:
        """A client with admin rights."""

    @property
    @abc.abstractmethod
    def directory(self) -> Path:
        """A private directory that is removed with the sandbox, for files of its users."""

    def stop_api_server(self) -> None:
        """End the API server abruptly, as a crash would; its data stays."""
        raise UnsupportedError(f"the {self.backend} back end does not own the API server")

    def start_api_server(self) -> None:
        """Start the API server again on its old address and wait until it is ready."""
        raise UnsupportedError(f"the {self.backend} back end does not own the API server")

    def check(self) -> None:
        """Raise `ComponentDiedError` if a component ended that nobody stopped."""
        return

    def describe(self) -> dict[str, Any]:
        """What a person wants to know about this sandbox, as plain values."""
        return {
            "backend": self.backend,
            "kubeconfig": str(self.kubeconfig),
            "server": self.api.server,
            "version": self.api.version(),
            "kueue": str(self.kueue),
            "audit log": str(self.audit_log) if self.audit_log else None,
        }

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig with a token of exactly this service account.

        The token comes from the TokenRequest API and lives a year, if the API server allows.
        The service account has to exist.
        """
        answer = self.api.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            body={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": credentials.LONG_TOKEN_SECONDS},
            },
        )
        path = self.directory / f"serviceaccount-{namespace}-{name}.kubeconfig"
        credentials.write_kubeconfig(
            path,
            server=self.api.server,
            ca_data=self.api.certificate_authority(),
            token=answer["status"]["token"],
            user=f"{namespace}:{name}",
        )
        return path
