"""Which Kueue decides about admission in a sandbox, and its start.

A real one always comes first: the Kueue that the cluster already has, then a manager that
the environment names, then a released one, and only then the stand-in, which says so and which
never touches a cluster that has Kueue.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab import kueue_standin
from lws_kueue_lab.kueue_standin import lifecycle, pod_marks
from lws_kueue_lab.sandbox import client, cluster, kueue_manager, kueue_settings, manager
from lws_kueue_lab.sandbox.releases.errors import UnavailableError

Mode = cluster.KueueChoice

_DEFAULT_SETTINGS: Final = kueue_settings.KueueSettings()
_STANDIN_NOTICE: Final = (
    "Kueue is not at hand: a stand-in decides about admission. It knows quota, cohorts, "
    "preemption and topology, and no fair sharing; set %s and %s to use a real Kueue. "
    "None was downloaded: %s."
)

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def start(
    sandbox: cluster.Sandbox,
    *,
    mode: Mode = "auto",
    settings: kueue_settings.KueueSettings = _DEFAULT_SETTINGS,
) -> Iterator[cluster.KueueInfo]:
    """Make sure that a Kueue serves while the context is open, and say which.

    - `auto` takes the Kueue of the cluster, the manager that the environment names, a released one
      (only for a control plane of processes, which alone reaches it) or the stand-in, in this
      order;
    - `manager` insists on a real one, that of the environment before a released one, and `standin`
      on the stand-in; a version is that of a release; `none` starts nothing.

    `settings` shape what is started; a Kueue of the cluster has its own. Raises SandboxError
    if the Kueue that was asked for cannot be had, or would meet another one in the cluster, and
    IntegrityError, whatever was asked for, if a released one is not what it has to be.
    """
    if mode == "none":
        yield cluster.NO_KUEUE
        return
    installed = find_installed(sandbox.api)
    if installed is not None and mode != "auto":
        raise cluster.SandboxError(
            f"{mode} was asked for, but the cluster has a Kueue already ({installed})"
        )
    if installed is not None:
        _log.info("using the %s", installed)
        yield installed
        return
    source, why_not = _manager(sandbox, mode)
    if source is not None:
        with kueue_manager.run(sandbox, source=source, settings=settings) as version:
            yield cluster.KueueInfo(kind="manager", version=version)
        return
    if mode == "auto":
        variables = kueue_manager.BINARY_VARIABLE, kueue_manager.MANIFESTS_VARIABLE
        _log.warning(_STANDIN_NOTICE, *variables, why_not)
    with kueue_standin.start(sandbox, options=_standin_options(settings)):
        yield cluster.KueueInfo(kind="standin")


def have(mode: Mode, *, backend: cluster.Backend) -> None:
    """Get the Kueue that `start` will be asked for, before there is a cluster for it.

    What cannot be had is told in a moment then, and nothing has to be ended again. Raises what
    `start` does; with `auto` only for an environment that names half of a Kueue.
    """
    if mode in ("none", "standin"):
        return
    if mode == "auto":
        kueue_manager.from_environment()
        return
    manager.check_backend("kueue", backend)
    _asked_for(mode)


def _asked_for(mode: Mode) -> manager.Source:
    """The manager that was insisted on; a version is that one, whatever the environment names."""
    if mode != "manager":
        return _version(mode)
    if named := kueue_manager.from_environment():
        return named
    try:
        return kueue_manager.released()
    except UnavailableError as error:
        raise cluster.SandboxError(
            f"no Kueue manager is at hand: set {kueue_manager.BINARY_VARIABLE} and "
            f"{kueue_manager.MANIFESTS_VARIABLE}. None was downloaded: {error}"
        ) from error


def _version(version: str) -> manager.Source:
    try:
        return kueue_manager.released(version)
    except UnavailableError as error:
        kept = ", ".join(kueue_manager.kept_versions()) or "none"
        raise cluster.SandboxError(
            f"Kueue {version} is not to be had: {error}. Choose a version that is published "
            f"({kueue_manager.RELEASES}), such as {kueue_manager.release().version}, or that is "
            f"kept in the cache ({kept}); or auto, real, stand-in or none"
        ) from error


def _manager(sandbox: cluster.Sandbox, mode: Mode) -> tuple[manager.Source | None, str]:
    """The manager to start, if one is to be started, and why none was downloaded."""
    if mode == "standin":
        return None, ""
    if mode != "auto":
        return _asked_for(mode), ""
    if named := kueue_manager.from_environment():
        return named, ""
    if sandbox.backend != "process":
        return None, "it would not be reached from this cluster"
    try:
        return kueue_manager.released(), ""
    except UnavailableError as error:
        return None, str(error)


def find_installed(api: client.Client) -> cluster.KueueInfo | None:
    """Find the Kueue that the cluster has, if any.

    The Workload CRD alone is no Kueue: the stand-in brings it too, and an uninstalled Kueue
    may leave it behind. A Deployment of the manager (kept even when scaled to zero) or a
    webhook for Workloads has to be there as well.
    """
    crd = f"workloads.{names.KUEUE_GROUP}"
    if api.find("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd) is None:
        return None
    deployments = api.list(
        "apps/v1",
        "Deployment",
        label_selector="app.kubernetes.io/name=kueue,control-plane=controller-manager",
    )
    if deployments:
        return cluster.KueueInfo(kind="cluster", version=_image_version(deployments[0]))
    configurations = api.list("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
    if any(_validates_workloads(configuration) for configuration in configurations):
        return cluster.KueueInfo(kind="cluster")
    return None


def _image_version(deployment: client.Object) -> str:
    """Take the tag of the manager's image, such as `v0.19.2`; nothing if it has none."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    manager = next((c for c in containers if c["name"] == "manager"), containers[0])
    image = str(manager["image"]).partition("@")[0]
    return image.rpartition("/")[2].partition(":")[2]


def _validates_workloads(configuration: client.Object) -> bool:
    rules: list[dict[str, Any]] = [
        rule
        for webhook in configuration.get("webhooks") or ()
        for rule in webhook.get("rules") or ()
    ]
    return any(
        names.KUEUE_GROUP in rule.get("apiGroups", ()) and "workloads" in rule.get("resources", ())
        for rule in rules
    )


def _standin_options(settings: kueue_settings.KueueSettings) -> lifecycle.Options:
    defaults = lifecycle.Options(pods=_pod_integration(settings))
    wait = settings.wait_for_pods_ready
    if wait is None:
        return defaults
    base, longest = wait.backoff_base_seconds, wait.backoff_max_seconds
    return dataclasses.replace(
        defaults,
        pods_ready_timeout=wait.timeout,
        backoff_base=defaults.backoff_base if base is None else base,
        backoff_max=defaults.backoff_max if longest is None else longest,
        backoff_limit=wait.backoff_limit_count,
    )


def _pod_integration(settings: kueue_settings.KueueSettings) -> pod_marks.Integration | None:
    if "pod" not in settings.frameworks:
        return None
    return pod_marks.Integration(
        external=kueue_settings.LEADER_WORKER_SET in settings.external_frameworks,
        everything=bool(settings.overrides.get("manageJobsWithoutQueueName")),
    )
