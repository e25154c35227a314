"""What the process is told: flags, then the environment, then the file, then defaults.

`configuration` is the file as it is written; here is what the process makes of it (lws-contract 9).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from lws_kueue.api import selectors
from lws_kueue.manager.settings import configuration
from lws_kueue.workload import build

Seconds = Annotated[float, Field(gt=0)]

# As in client-go: a renewal that comes late by this factor must still be in time.
JITTER: Final = 1.2

# What client-go takes for 0.
_DEFAULT_QPS: Final = 5.0
_DEFAULT_BURST: Final = 10

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NAMESPACE: Final = "lws-kueue-system"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LeaderElection(_Frozen):
    """How one of several processes is chosen."""

    lease_duration: Seconds = 15.0
    renew_deadline: Seconds = 10.0
    retry_period: Seconds = 2.0
    name: str = "b8b2488c.x-k8s.io"
    """The Lease; the one of the Go manager, so the two exclude each other in one namespace."""
    namespace: str = _NAMESPACE


class Metrics(_Frozen):
    """The metrics server; ``address`` None: there is none."""

    address: configuration.BindAddress | None = None
    min_version: str = ""
    cipher_suites: tuple[str, ...] = ()


class Health(_Frozen):
    """The server that answers probes; ``address`` None: there is none."""

    address: configuration.BindAddress | None = None
    readiness: str = "/readyz"
    liveness: str = "/healthz"


class Settings(_Frozen):
    """Settings of the controller process; unknown keys are errors.

    The defaults here are those of a process that serves nothing and has no rival. Those of the
    command line are in `configuration`.
    """

    kubeconfig: str | None = None
    """Path of a kubeconfig file; None: the pod's own service account."""
    context: str | None = None
    """Context of the kubeconfig file; None: its current one."""
    workers: int = Field(default=8, ge=1, le=64)
    """How many sets are worked on at the same time."""
    status_interval: Seconds = 1.0
    """At most one status write of a set in this time."""
    resync_interval: Seconds = 300.0
    """How often everything is listed afresh, to notice deletions that a watch missed."""
    kueue_probe_interval: Seconds = 15.0
    """How often to look whether Kueue appeared, left, or changed its version."""
    short_workload_names: bool = False
    """Whether Kueue runs with ShortWorkloadNames (names of at most 63 characters)."""
    manage_jobs_without_queue_name: bool = False
    """Whether sets without a queue wait for Kueue as well."""
    managed_jobs_namespace_selector: selectors.LabelSelector = (
        configuration.Own().managed_jobs_namespace_selector
    )
    """In which namespaces they do."""
    label_keys_to_copy: tuple[str, ...] = ()
    """Labels of a set that its Workloads get."""
    annotation_keys_to_copy: tuple[str, ...] = ()
    """Annotations of a set that its Workloads get."""
    gang_scheduler: Literal["volcano"] | None = None
    """Who schedules the pods of a group all at once; None: nobody."""
    qps: Seconds | None = 500.0
    """Requests a second; None: as many as there are."""
    burst: int = Field(default=500, ge=1)
    """Requests that may be sent at once when there were none for a while."""
    leader_election: LeaderElection | None = None
    """None: this process works without asking whether it is the only one."""
    metrics: Metrics = Metrics()
    health: Health = Health()


def resolve(
    file: configuration.Configuration,
    *,
    given: Mapping[str, Any],
    kubeconfig: str | None = None,
    context: str | None = None,
) -> Settings:
    """Make the settings of a file in which some values are ``given`` otherwise.

    The keys of ``given`` are attributes of the file, such as ``leader_election.leader_elect``.

    Raises:
        ConfigurationError: the values do not go together.
    """
    effective = _override(file, given)
    connection, own, health = effective.client_connection, effective.lws_kueue, effective.health
    if health.liveness_endpoint_name == health.readiness_endpoint_name:
        raise configuration.ConfigurationError(
            f"health.readinessEndpointName: {health.readiness_endpoint_name} is the other one's"
        )
    gang = effective.gang_scheduling_management
    return Settings(
        kubeconfig=kubeconfig,
        context=context,
        **dict(own),
        gang_scheduler=gang.scheduler_provider if gang else None,
        qps=None if connection.qps < 0 else connection.qps or _DEFAULT_QPS,
        burst=connection.burst or _DEFAULT_BURST,
        leader_election=_election(effective.leader_election),
        metrics=Metrics(
            address=_served(effective.metrics.bind_address),
            min_version=effective.tls.min_version,
            cipher_suites=effective.tls.cipher_suites,
        ),
        health=Health(
            address=_served(health.health_probe_bind_address),
            readiness=health.readiness_endpoint_name,
            liveness=health.liveness_endpoint_name,
        ),
    )


def workload_options(settings: Settings) -> build.Options:
    """Return what the settings say about Workloads."""
    return build.Options(
        label_keys_to_copy=frozenset(settings.label_keys_to_copy),
        annotation_keys_to_copy=frozenset(settings.annotation_keys_to_copy),
        short_names=settings.short_workload_names,
    )


def _override(
    file: configuration.Configuration, given: Mapping[str, Any]
) -> configuration.Configuration:
    """Put values, which are checked already, in place of those of the file."""
    sections: dict[str, dict[str, Any]] = {}
    for path, value in given.items():
        section, _, field = path.partition(".")
        sections.setdefault(section, {})[field] = value
    changed = {
        section: getattr(file, section).model_copy(update=fields)
        for section, fields in sections.items()
    }
    return file.model_copy(update=changed)


def _served(address: str) -> str | None:
    return None if address == "0" else address


def _election(chosen: configuration.LeaderElection) -> LeaderElection | None:
    if not chosen.leader_elect:
        return None
    duration, deadline, retry = chosen.lease_duration, chosen.renew_deadline, chosen.retry_period
    problem = ""
    if retry <= 0:
        problem = f"retryPeriod: {retry:g} s is not positive"
    elif duration < 1:
        problem = f"leaseDuration: {duration:g} s is less than a second, the unit of a Lease"
    elif deadline >= duration:
        problem = f"renewDeadline: {deadline:g} s is not less than leaseDuration, {duration:g} s"
    elif deadline <= JITTER * retry:
        problem = f"renewDeadline: {deadline:g} s is not more than {JITTER} x retryPeriod"
    if problem:
        raise configuration.ConfigurationError(f"leaderElection.{problem}")
    return LeaderElection(
        lease_duration=duration,
        renew_deadline=deadline,
        retry_period=retry,
        name=chosen.resource_name,
        namespace=chosen.resource_namespace or own_namespace(),
    )


def own_namespace(file: Path = _NAMESPACE_FILE) -> str:
    """Return the namespace of the pod that this runs in, or the one of an installation."""
    try:
        return file.read_text(encoding="utf-8").strip() or _NAMESPACE
    except OSError:
        return _NAMESPACE
