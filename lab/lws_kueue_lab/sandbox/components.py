"""The command lines of the control plane, the same for every back end that starts one.

What differs between back ends is where files lie and under which addresses components find one
another; `Layout` says both. Options that only make a laptop slower are switched off here, each
with its reason.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from lws_kueue_lab.sandbox import cluster, credentials, stages

# What kube-controller-manager leaves out: cloud, certificates, storage attachment and the clean-up
# of things that no sandbox lives long enough to have.
_DISABLED_CONTROLLERS = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-cleaner-controller",
    "certificatesigningrequest-signing-controller",
    "cloud-node-lifecycle-controller",
    "device-taint-eviction-controller",
    "endpointslice-mirroring-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller",
    "legacy-serviceaccount-token-cleaner-controller",
    "node-ipam-controller",
    "node-route-controller",
    "persistentvolume-attach-detach-controller",
    "persistentvolume-expander-controller",
    "podcertificaterequest-cleaner-controller",
    "resourceclaim-controller",
    "resourcepoolstatusrequest-controller",
    "service-cidr-controller",
    "service-lb-controller",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
    "ttl-controller",
    "volumeattributesclass-protection-controller",
)

_POD_NETWORK = "10.64.0.0/10"
_SERVICE_NETWORK = "10.32.0.0/16"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the components find their files and one another, as they themselves see it.

    - `directory`: configuration, as the components see it.
    - `data`: where etcd writes.
    - `etcd_client`, `etcd_peer`: URLs; unix sockets need neither a port nor credentials.
    - `bind_address`, `port`: where the API server listens.
    - `audit_log`: where the API server writes its audit log, `-` for standard output.
    """

    directory: Path
    data: Path
    etcd_client: str
    etcd_peer: str
    bind_address: str
    port: int
    audit_log: str | None

    @property
    def credentials(self) -> Path:
        """Where `credentials.create` wrote."""
        return self.directory / "credentials"

    @property
    def audit_policy(self) -> Path:
        """The audit policy of the API server."""
        return self.directory / "audit-policy.json"

    @property
    def scheduler_config(self) -> Path:
        """The configuration of the scheduler."""
        return self.directory / "kube-scheduler.json"

    @property
    def kwok_config(self) -> Path:
        """The configuration and the stages of kwok."""
        return self.directory / "kwok.yaml"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of a component."""
        return self.credentials / f"{user}.kubeconfig"


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """One process of the control plane; `name` is that of its binary."""

    name: str
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()


def write_configuration(layout: Layout, options: cluster.Options, *, into: Path) -> None:
    """Write the files that the command lines name; `into` is `layout.directory` as seen here."""
    _write_json(into / layout.audit_policy.name, _audit_policy())
    _write_json(into / layout.scheduler_config.name, _scheduler_configuration(layout, options))
    documents = [_kwok_configuration(), *stages.all_stages()]
    text = "\n---\n".join(json.dumps(document, indent=2) for document in documents)
    (into / layout.kwok_config.name).write_text(text)


def etcd(layout: Layout) -> Component:
    """The storage; it never syncs to disk, since nothing of it has to survive."""
    return Component(
        "etcd",
        (
            "--name=sandbox",
            f"--data-dir={layout.data}",
            f"--listen-client-urls={layout.etcd_client}",
            f"--advertise-client-urls={layout.etcd_client}",
            f"--listen-peer-urls={layout.etcd_peer}",
            f"--initial-advertise-peer-urls={layout.etcd_peer}",
            f"--initial-cluster=sandbox={layout.etcd_peer}",
            "--unsafe-no-fsync=true",
            "--log-level=warn",
        ),
    )


def api_server(layout: Layout, options: cluster.Options) -> Component:
    """The API server with RBAC; API groups stay at their defaults.

    MutatingAdmissionPolicy v1 is generally available, hence on, in the version that the
    toolchain pins.
    """
    made = credentials.Credentials(directory=layout.credentials, tokens={})
    arguments = [
        f"--etcd-servers={layout.etcd_client}",
        f"--bind-address={layout.bind_address}",
        "--advertise-address=127.0.0.1",
        f"--secure-port={layout.port}",
        f"--tls-cert-file={made.serving_certificate}",
        f"--tls-private-key-file={made.serving_key}",
        f"--token-auth-file={made.token_file}",
        f"--service-account-key-file={made.service_account_key}",
        f"--service-account-signing-key-file={made.service_account_key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={_SERVICE_NETWORK}",
        "--authorization-mode=RBAC",
        # Nothing routes to the `kubernetes` service of a sandbox.
        "--endpoint-reconciler-type=none",
        "--allow-privileged=true",
        "--profiling=false",
        *_feature_gates(options),
    ]
    if layout.audit_log is not None:
        arguments += [
            f"--audit-policy-file={layout.audit_policy}",
            f"--audit-log-path={layout.audit_log}",
            "--audit-log-mode=blocking",
            # One file: a test that counts requests must not lose any to rotation. In megabytes; 0
            # would mean a hundred.
            "--audit-log-maxsize=1000000",
        ]
    return Component("kube-apiserver", tuple(arguments))


def controller_manager(layout: Layout, options: cluster.Options) -> Component:
    """The controllers of Kubernetes, each with its own service account as in a real cluster."""
    made = credentials.Credentials(directory=layout.credentials, tokens={})
    return Component(
        "kube-controller-manager",
        (
            f"--kubeconfig={layout.kubeconfig('kube-controller-manager')}",
            "--leader-elect=false",
            "--secure-port=0",
            "--profiling=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={made.service_account_key}",
            f"--root-ca-file={made.ca_certificate}",
            "--controllers=*," + ",".join(f"-{name}" for name in _DISABLED_CONTROLLERS),
            f"--kube-api-qps={options.client_qps:g}",
            f"--kube-api-burst={options.client_burst}",
            "--horizontal-pod-autoscaler-sync-period=1s",
            "--concurrent-statefulset-syncs=20",
            "--concurrent-gc-syncs=20",
            "--concurrent-namespace-syncs=20",
            # A busy machine, or a test that stops the API server, must not look like lost nodes.
            "--node-monitor-grace-period=30m",
            *_feature_gates(options),
        ),
    )


def scheduler(layout: Layout) -> Component:
    """The scheduler; its settings are in a file because their flags are ignored."""
    return Component(
        "kube-scheduler",
        (f"--config={layout.scheduler_config}", "--secure-port=0"),
    )


def kwok(layout: Layout) -> Component:
    """The kubelet of every node."""
    return Component(
        "kwok",
        (f"--config={layout.kwok_config}", f"--kubeconfig={layout.kubeconfig('kwok')}"),
        # Otherwise it would read and write the home directory of the user.
        environment=(("HOME", str(layout.directory)), ("KWOK_WORKDIR", str(layout.directory))),
    )


def _feature_gates(options: cluster.Options) -> tuple[str, ...]:
    gates = (f"{gate}={str(on).lower()}" for gate, on in sorted(options.feature_gates.items()))
    return (f"--feature-gates={','.join(gates)}",) if options.feature_gates else ()


def _audit_policy() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }


def _scheduler_configuration(layout: Layout, options: cluster.Options) -> dict[str, Any]:
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {
            "kubeconfig": str(layout.kubeconfig("kube-scheduler")),
            "qps": options.client_qps,
            "burst": options.client_burst,
        },
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
        # A pod that did not fit is tried again soon after something changed.
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 2,
    }


def _kwok_configuration() -> dict[str, Any]:
    return {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": {
            "manageAllNodes": True,
            "cidr": _POD_NETWORK,
            "nodeLeaseDurationSeconds": 40,
            # A configuration file switches the defaults of all of these off.
            "podPlayStageParallelism": 16,
            "nodePlayStageParallelism": 4,
            "nodeLeaseParallelism": 4,
            "podsOnNodeSyncParallelism": 4,
            "enablePodsOnNodeSyncListPager": False,
            "enablePodsOnNodeSyncStreamWatch": True,
        },
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2))
