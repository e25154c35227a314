"""What the process is told: flags, then the environment, then the file, then defaults.

The model of the file is that of the settings (lws-contract 9).
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from lws_kueue.dispatch import settings
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime.clusters import access
from lws_kueue.workload import build, excess

# As in client-go: a renewal that comes late by this factor must still be in time.
JITTER: Final = 1.2


def resolve(
    file: configuration.Configuration, *, given: Mapping[str, Any]
) -> configuration.Configuration:
    """Return the settings of a file in which some values are ``given`` otherwise.

    The keys of ``given`` are attributes of the file, such as ``leader_election.leader_elect``.

    Raises:
        ConfigurationError: the values do not go together.
    """
    effective = _override(file, given)
    health = effective.health
    if health.liveness_endpoint_name == health.readiness_endpoint_name:
        raise configuration.ConfigurationError(
            f"health.readinessEndpointName: {health.readiness_endpoint_name} is the other one's"
        )
    if problem := _problem(effective.leader_election):
        raise configuration.ConfigurationError(f"leaderElection.{problem}")
    return effective


def workload_options(own: configuration.Own) -> build.Options:
    """Return what the settings say about Workloads."""
    return build.Options(
        label_keys_to_copy=frozenset(own.label_keys_to_copy),
        annotation_keys_to_copy=frozenset(own.annotation_keys_to_copy),
        short_names=own.short_workload_names,
        max_pending=own.max_pending_workloads,
        injected_containers=excess.Injected(own.injected_containers),
        revision_history_limit=own.revision_history_limit,
    )


def cluster_settings(own: configuration.Own) -> access.Settings | None:
    """Return what the settings say about worker clusters, None where there are to be none."""
    chosen = own.multi_kueue
    if not chosen.enabled:
        return None
    return access.Settings(
        namespace=chosen.namespace,
        rate=chosen.client_connection.rate,
        at_once=chosen.client_connection.at_once,
        interval=own.kueue_probe_interval,
        directory=Path(chosen.kubeconfig_directory) if chosen.kubeconfig_directory else None,
        origin=chosen.origin,
    )


def dispatch_settings(own: configuration.Own) -> settings.Settings:
    """Return what the settings say about how groups are dispatched."""
    chosen = own.multi_kueue
    return settings.Settings(
        worker_lost_timeout=timedelta(seconds=chosen.worker_lost_timeout),
        mode=settings.Mode(chosen.mode),
        order=settings.Order(chosen.order),
        step_size=chosen.step_size,
        round_interval=timedelta(seconds=chosen.round_interval),
        drop_labels=frozenset(chosen.drop_labels),
        drop_annotations=frozenset(chosen.drop_annotations),
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


def _problem(chosen: configuration.LeaderElection) -> str:
    """Return which of the times of an election, if there is one, does not fit, "" if all do."""
    if not chosen.leader_elect:
        return ""
    duration, deadline, retry = chosen.lease_duration, chosen.renew_deadline, chosen.retry_period
    if retry <= 0:
        return f"retryPeriod: {retry:g} s is not positive"
    if duration < 1:
        return f"leaseDuration: {duration:g} s is less than a second, the unit of a Lease"
    if deadline >= duration:
        return f"renewDeadline: {deadline:g} s is not less than leaseDuration, {duration:g} s"
    if deadline <= JITTER * retry:
        return f"renewDeadline: {deadline:g} s is not more than {JITTER} x retryPeriod"
    return ""
