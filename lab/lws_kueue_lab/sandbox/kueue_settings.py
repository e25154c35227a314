"""How a real Kueue manager of the sandbox is set up, and its configuration file.

Names, units and meanings are those of Kueue's `Configuration` (kueue-contract 6.2).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab.sandbox import manager

# The recommended set-up for the bridge (kueue-contract 3.6): the built-in integration for
# LeaderWorkerSets is off, and the kind is named as somebody else's, so that the pod and
# StatefulSet integrations, where they are on, leave its children alone.
LEADER_WORKER_SET: Final = f"{names.LWS_KIND}.{names.LWS_VERSION}.{names.LWS_GROUP}"

# The integrations that the configuration of its release switches on, but for the one for
# LeaderWorkerSets. Kueue waits for those whose kinds are not installed.
RELEASED_FRAMEWORKS: Final = (
    "batch/job",
    "kubeflow.org/mpijob",
    "ray.io/rayjob",
    "ray.io/raycluster",
    "ray.io/rayservice",
    "jobset.x-k8s.io/jobset",
    "workload.codeflare.dev/appwrapper",
    "trainer.kubeflow.org/trainjob",
    "pod",
    "deployment",
    "statefulset",
)

# Kueue itself runs one worker for a kind unless told otherwise; these are the numbers of its
# released configuration, so that timing in the sandbox is that of an installation.
_CONCURRENCY: Final = {
    "Job.batch": 5,
    "Pod": 5,
    "Workload.kueue.x-k8s.io": 10,
    "LocalQueue.kueue.x-k8s.io": 5,
    "Cohort.kueue.x-k8s.io": 1,
    "ClusterQueue.kueue.x-k8s.io": 5,
    "ResourceFlavor.kueue.x-k8s.io": 1,
}

# Of its released configuration as well; Kueue's own limit is a tenth of it.
_CONNECTION: Final = {"qps": 300, "burst": 500}

# The server offers pending workloads through an APIService, for which the sandbox has none.
_OFF: Final = {"VisibilityOnDemand": False}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WaitForPodsReady:
    """Eviction of Workloads whose pods do not become ready; None leaves Kueue's default.

    All times are seconds, `timeout` after admission and `recovery_timeout` after pods ceased
    to be ready; `requeuing_timestamp` is "Eviction" or "Creation"; without a
    `backoff_limit_count` a Workload is requeued for ever.
    """

    timeout: float = 1800
    recovery_timeout: float | None = None
    block_admission: bool | None = None
    requeuing_timestamp: str | None = None
    backoff_limit_count: int | None = None
    backoff_base_seconds: int | None = None
    backoff_max_seconds: int | None = None

    def render(self) -> dict[str, Any]:
        """Make the `waitForPodsReady` section of the configuration."""
        requeuing = _given(
            timestamp=self.requeuing_timestamp,
            backoffLimitCount=self.backoff_limit_count,
            backoffBaseSeconds=self.backoff_base_seconds,
            backoffMaxSeconds=self.backoff_max_seconds,
        )
        return _given(
            timeout=_duration(self.timeout),
            recoveryTimeout=_duration(self.recovery_timeout),
            blockAdmission=self.block_admission,
            requeuingStrategy=requeuing or None,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KueueSettings:
    """What a caller may choose about a Kueue that the sandbox starts.

    The stand-in heeds `wait_for_pods_ready`, of it the timeout and the backoff, and what says
    which pods are managed: `frameworks`, `external_frameworks`, `manageJobsWithoutQueueName`.
    Unless told otherwise it is Kueue as people install it: the configuration of its release, with
    LeaderWorkerSets left to the bridge.

    `overrides` are top-level sections of the configuration (such as `fairSharing`); a section
    given there replaces the one that the other fields make.
    """

    frameworks: tuple[str, ...] = RELEASED_FRAMEWORKS
    external_frameworks: tuple[str, ...] = (LEADER_WORKER_SET,)
    wait_for_pods_ready: WaitForPodsReady | None = None
    feature_gates: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def configuration(settings: KueueSettings, endpoints: manager.Endpoints) -> dict[str, Any]:
    """Make the content of the manager's configuration file."""
    rendered: dict[str, Any] = {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": endpoints.namespace,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{endpoints.health_port}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {
            "host": "127.0.0.1",
            "port": endpoints.webhook_port,
            "certDir": str(endpoints.certificate_directory),
        },
        "leaderElection": {"leaderElect": False},
        "controller": {"groupKindConcurrency": dict(_CONCURRENCY)},
        "clientConnection": dict(_CONNECTION),
        "internalCertManagement": {
            "enable": True,
            "webhookServiceName": endpoints.webhook_service,
            "webhookSecretName": endpoints.webhook_secret,
        },
        "featureGates": {**_OFF, **settings.feature_gates},
        "integrations": {
            "frameworks": list(settings.frameworks),
            "externalFrameworks": list(settings.external_frameworks),
        },
    }
    if settings.wait_for_pods_ready is not None:
        rendered["waitForPodsReady"] = settings.wait_for_pods_ready.render()
    return {**rendered, **settings.overrides}


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds:g}s"


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
