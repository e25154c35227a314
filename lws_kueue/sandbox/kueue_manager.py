"""A real Kueue manager as a child process of the sandbox.

The project knows a Kueue only by two environment variables: an executable, and a directory
with its CRDs and webhook configurations (`kueue_manifests`). What an installation in a
cluster brings besides is made here: the namespace, the serving certificate, the
configuration file and the wait until the webhooks answer.

The manager keeps its own certificate management on, because without it the metrics
certificate is looked up under a fixed path below /etc. It accepts a certificate that is
already in its Secret, so the one made here serves, and nothing has to be mounted.
"""

import base64
import contextlib
import dataclasses
import datetime
import os
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import urllib3.exceptions
import yaml

from lws_kueue.api import names
from lws_kueue.sandbox import (
    client,
    cluster,
    kueue_certificate,
    kueue_manifests,
    kueue_settings,
    ports,
    supervision,
)

BINARY_VARIABLE: Final = "LWS_KUEUE_KUEUE_BIN"
MANIFESTS_VARIABLE: Final = "LWS_KUEUE_KUEUE_MANIFESTS"

_NAME: Final = "kueue"
_CONFIGURATION: Final = "kueue.yaml"
_SECRET: Final = "kueue-webhook-server-cert"  # noqa: S105 (a name, not a secret)
_READY_TIMEOUT_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.1
_VERSION: Final = re.compile(r'"?gitVersion"?[:=]\s*"?(v[^",\s]+)')
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A Kueue that the environment names."""

    binary: Path
    manifests: Path


def from_environment(environment: Mapping[str, str] = os.environ) -> Source | None:
    """Find the Kueue that the environment names, if any.

    Raises SandboxError if it names only one half, or something that is not there: a Kueue
    that was asked for is never silently replaced by the stand-in.
    """
    binary = environment.get(BINARY_VARIABLE, "")
    manifests = environment.get(MANIFESTS_VARIABLE, "")
    if not binary and not manifests:
        return None
    if not binary or not manifests:
        raise cluster.SandboxError(f"set both of {BINARY_VARIABLE} and {MANIFESTS_VARIABLE}")
    if not os.access(binary, os.X_OK) or not Path(binary).is_file():
        raise cluster.SandboxError(f"{BINARY_VARIABLE}: {binary} is not an executable file")
    if not Path(manifests).is_dir():
        raise cluster.SandboxError(f"{MANIFESTS_VARIABLE}: {manifests} is not a directory")
    return Source(binary=Path(binary).absolute(), manifests=Path(manifests).absolute())


@contextlib.contextmanager
def run(
    sandbox: cluster.Sandbox, *, source: Source, settings: kueue_settings.KueueSettings
) -> Iterator[str]:
    """Run a manager against `sandbox` while the context is open, and yield its version.

    Raises SandboxError if the manifests are incomplete, the manager ends, or its webhooks do
    not answer in time; the message carries the end of its log.
    """
    if sandbox.backend == "container":
        raise cluster.SandboxError(
            "a Kueue manager on this machine cannot serve webhooks to an API server in a container"
        )
    try:
        manifests = kueue_manifests.load(source.manifests)
    except kueue_manifests.ManifestError as error:
        raise cluster.SandboxError(f"{MANIFESTS_VARIABLE}: {error}") from error
    with (
        contextlib.closing(supervision.Supervision()) as supervisor,
        contextlib.ExitStack() as undo,
    ):
        endpoints = _endpoints(manifests.service, directory=supervisor.directory)
        certificate = kueue_certificate.make(
            manifests.service.host, now=datetime.datetime.now(datetime.UTC)
        )
        attached = kueue_manifests.attach(
            manifests,
            origin=f"https://127.0.0.1:{endpoints.webhook_port}",
            ca_bundle=_base64(certificate.ca_certificate),
        )
        undo.callback(_remove_webhooks, sandbox.api, attached)
        _install(sandbox.api, attached, certificate)
        _write_files(supervisor.directory, settings, endpoints, certificate)
        _start(supervisor, source=source, kubeconfig=sandbox.kubeconfig)
        _wait_until_ready(sandbox.api, supervisor, endpoints)
        yield _version(supervisor.log(_NAME))


def _endpoints(
    service: kueue_manifests.WebhookService, *, directory: Path
) -> kueue_settings.Endpoints:
    webhook_port, health_port = ports.free(2)
    return kueue_settings.Endpoints(
        webhook_port=webhook_port,
        health_port=health_port,
        certificate_directory=directory / "certificates",
        namespace=service.namespace,
        webhook_service=service.name,
        webhook_secret=_SECRET,
    )


def _install(
    api: client.Client,
    manifests: kueue_manifests.Manifests,
    certificate: kueue_certificate.ServingCertificate,
) -> None:
    """Apply what the manager expects to find: it ends if a CRD or its Secret is missing."""
    namespace = manifests.service.namespace
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": _SECRET, "namespace": namespace},
            "data": {
                "ca.crt": _base64(certificate.ca_certificate),
                "ca.key": _base64(certificate.ca_key),
                "tls.crt": _base64(certificate.certificate),
                "tls.key": _base64(certificate.key),
            },
        }
    )
    for definition in manifests.definitions:
        api.apply(definition)
    for definition in manifests.definitions:
        api.wait_for(
            definition["apiVersion"], definition["kind"], definition["metadata"]["name"], _served
        )
    for obj in manifests.rest:
        api.apply(obj)


def _served(definition: client.Object | None) -> bool:
    # A new definition has a status with null conditions.
    conditions = (definition or {}).get("status", {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _remove_webhooks(api: client.Client, manifests: kueue_manifests.Manifests) -> None:
    """Take the webhooks away, which would refuse every pod once nobody answers them."""
    for configuration in manifests.webhook_configurations:
        # The sandbox may be gone already, and with it what was to be removed.
        with contextlib.suppress(client.ApiError, urllib3.exceptions.HTTPError, OSError):
            api.delete(
                configuration["apiVersion"],
                configuration["kind"],
                configuration["metadata"]["name"],
                missing_ok=True,
            )


def _write_files(
    directory: Path,
    settings: kueue_settings.KueueSettings,
    endpoints: kueue_settings.Endpoints,
    certificate: kueue_certificate.ServingCertificate,
) -> None:
    endpoints.certificate_directory.mkdir(mode=0o700)
    (endpoints.certificate_directory / "tls.crt").write_bytes(certificate.certificate)
    (endpoints.certificate_directory / "tls.key").write_bytes(certificate.key)
    configuration = kueue_settings.configuration(settings, endpoints)
    (directory / _CONFIGURATION).write_text(yaml.safe_dump(configuration, sort_keys=False))


def _start(supervisor: supervision.Supervision, *, source: Source, kubeconfig: Path) -> None:
    supervisor.start(
        _NAME,
        [
            str(source.binary),
            f"--config={supervisor.directory / _CONFIGURATION}",
            f"--kubeconfig={kubeconfig.absolute()}",
        ],
    )


def _wait_until_ready(
    api: client.Client, supervisor: supervision.Supervision, endpoints: kueue_settings.Endpoints
) -> None:
    """Wait until the manager says that it serves and a request has gone through its webhooks."""
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while True:
        supervisor.check()
        problem = _readiness(endpoints.health_port) or _admission(api)
        if problem is None:
            return
        if time.monotonic() > deadline:
            raise cluster.SandboxError(
                f"{_NAME} is not ready after {_READY_TIMEOUT_SECONDS:g} s: {problem}; "
                f"the end of its log:\n{supervisor.log_tail(_NAME)}"
            )
        time.sleep(_POLL_SECONDS)


def _readiness(port: int) -> str | None:
    """Tell what keeps the manager from being ready, or None."""
    try:
        # Only loopback, so a proxy that the environment names is of no use.
        with _OPENER.open(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return None
    except OSError as error:
        return f"its health endpoint says {error}"


def _admission(api: client.Client) -> str | None:
    """Tell what keeps the API server from using the webhooks, or None."""
    probe = {
        "apiVersion": names.KUEUE_API_VERSION,
        "kind": "ResourceFlavor",
        "metadata": {"name": "sandbox-probe"},
    }
    try:
        api.create(probe, dry_run=True)
    except client.ApiError as error:
        return f"the API server says {error.body}"
    return None


def _version(log: Path) -> str:
    """Read the version that the manager logged when it started; nothing if it logged none."""
    found = _VERSION.search(log.read_text(errors="replace"))
    return found.group(1) if found else ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
