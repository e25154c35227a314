"""A real controller manager with webhooks as a child process of the sandbox.

The project knows such a manager only by two environment variables: an executable, and a
directory with its CRDs and webhook configurations (`manager_manifests`). What an installation
in a cluster brings besides is made here: the namespace, the serving certificate, the
configuration file and the wait until the webhooks answer. `kueue_manager` and `lws_manager`
say what is particular to theirs.
"""

import base64
import contextlib
import dataclasses
import datetime
import os
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import urllib3.exceptions
import yaml

from lws_kueue_lab.sandbox import (
    client,
    cluster,
    manager_certificate,
    manager_manifests,
    ports,
    supervision,
)

_READY_TIMEOUT_SECONDS: Final = 90.0
_POLL_SECONDS: Final = 0.1
_VERSION: Final = re.compile(r'"?gitVersion"?[:=]\s*"?(v[^",\s]+)')
_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclasses.dataclass(frozen=True, slots=True)
class Variables:
    """The environment variables by which a manager is named."""

    binary: str
    manifests: str


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A manager that the environment names."""

    binary: Path
    manifests: Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a manager listens on loopback, and what proves its identity there."""

    webhook_port: int
    health_port: int
    certificate_directory: Path
    namespace: str
    webhook_service: str
    webhook_secret: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What tells one manager from another.

    - `name`: of the process, its log and its configuration file.
    - `definition`: the CRD that its manifests have to hold.
    - `authority`: the name that it expects of its certificate authority.
    - `webhook_secret`: the Secret in which it looks for its certificate.
    - `configuration`: the content of its configuration file.
    - `probe`: an object whose creation, as a dry run, goes through its webhooks.
    """

    name: str
    variables: Variables
    definition: str
    authority: str
    webhook_secret: str
    configuration: Callable[[Endpoints], Mapping[str, Any]]
    probe: client.Object


def from_environment(
    variables: Variables, environment: Mapping[str, str] = os.environ
) -> Source | None:
    """Find the manager that the environment names, if any.

    Raises SandboxError if it names only one half, or something that is not there: a manager
    that was asked for is never silently done without.
    """
    binary = environment.get(variables.binary, "")
    manifests = environment.get(variables.manifests, "")
    if not binary and not manifests:
        return None
    if not binary or not manifests:
        raise cluster.SandboxError(f"set both of {variables.binary} and {variables.manifests}")
    if not os.access(binary, os.X_OK) or not Path(binary).is_file():
        raise cluster.SandboxError(f"{variables.binary}: {binary} is not an executable file")
    if not Path(manifests).is_dir():
        raise cluster.SandboxError(f"{variables.manifests}: {manifests} is not a directory")
    return Source(binary=Path(binary).absolute(), manifests=Path(manifests).absolute())


def check_backend(name: str, backend: cluster.Backend) -> None:
    """Raise SandboxError where the API server would not reach a manager of this machine."""
    if backend == "container":
        raise cluster.SandboxError(
            f"a {name} manager on this machine cannot serve webhooks to an API server in "
            "a container"
        )


@contextlib.contextmanager
def run(sandbox: cluster.Sandbox, *, source: Source, program: Program) -> Iterator[str]:
    """Run a manager against `sandbox` while the context is open, and yield its version.

    Afterwards its webhooks are gone; its CRDs and everything that it made stay. Raises
    SandboxError if the manifests are incomplete, the manager ends, or its webhooks do not
    answer in time; the message carries the end of its log.
    """
    check_backend(program.name, sandbox.backend)
    try:
        manifests = manager_manifests.load(source.manifests, definition=program.definition)
    except manager_manifests.ManifestError as error:
        raise cluster.SandboxError(f"{program.variables.manifests}: {error}") from error
    with (
        contextlib.closing(supervision.Supervision()) as supervisor,
        contextlib.ExitStack() as undo,
    ):
        endpoints = _endpoints(program, manifests.service, directory=supervisor.directory)
        certificate = manager_certificate.make(
            manifests.service.host,
            authority=program.authority,
            now=datetime.datetime.now(datetime.UTC),
        )
        attached = manager_manifests.attach(
            manifests,
            origin=f"https://127.0.0.1:{endpoints.webhook_port}",
            ca_bundle=_base64(certificate.ca_certificate),
        )
        undo.callback(_remove_webhooks, sandbox.api, attached)
        _install(sandbox.api, attached, certificate=certificate, secret=program.webhook_secret)
        _write_files(supervisor.directory, program, endpoints=endpoints, certificate=certificate)
        _start(supervisor, program, source=source, kubeconfig=sandbox.kubeconfig)
        _wait_until_ready(sandbox.api, supervisor, program=program, endpoints=endpoints)
        yield _version(supervisor.log(program.name))


def _endpoints(
    program: Program, service: manager_manifests.WebhookService, *, directory: Path
) -> Endpoints:
    webhook_port, health_port = ports.free(2)
    return Endpoints(
        webhook_port=webhook_port,
        health_port=health_port,
        certificate_directory=directory / "certificates",
        namespace=service.namespace,
        webhook_service=service.name,
        webhook_secret=program.webhook_secret,
    )


def _install(
    api: client.Client,
    manifests: manager_manifests.Manifests,
    *,
    certificate: manager_certificate.ServingCertificate,
    secret: str,
) -> None:
    """Apply what the manager expects to find: it ends if a CRD or its Secret is missing."""
    namespace = manifests.service.namespace
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    api.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": namespace},
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


def _remove_webhooks(api: client.Client, manifests: manager_manifests.Manifests) -> None:
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
    program: Program,
    *,
    endpoints: Endpoints,
    certificate: manager_certificate.ServingCertificate,
) -> None:
    endpoints.certificate_directory.mkdir(mode=0o700)
    (endpoints.certificate_directory / "tls.crt").write_bytes(certificate.certificate)
    (endpoints.certificate_directory / "tls.key").write_bytes(certificate.key)
    configuration = yaml.safe_dump(dict(program.configuration(endpoints)), sort_keys=False)
    _configuration_file(directory, program).write_text(configuration)


def _configuration_file(directory: Path, program: Program) -> Path:
    return directory / f"{program.name}.yaml"


def _start(
    supervisor: supervision.Supervision, program: Program, *, source: Source, kubeconfig: Path
) -> None:
    supervisor.start(
        program.name,
        [
            str(source.binary),
            f"--config={_configuration_file(supervisor.directory, program)}",
            f"--kubeconfig={kubeconfig.absolute()}",
        ],
    )


def _wait_until_ready(
    api: client.Client,
    supervisor: supervision.Supervision,
    *,
    program: Program,
    endpoints: Endpoints,
) -> None:
    """Wait until the manager says that it serves and a request has gone through its webhooks."""
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while True:
        supervisor.check()
        problem = _readiness(endpoints.health_port) or _admission(api, program.probe)
        if problem is None:
            return
        if time.monotonic() > deadline:
            raise cluster.SandboxError(
                f"{program.name} is not ready after {_READY_TIMEOUT_SECONDS:g} s: {problem}; "
                f"the end of its log:\n{supervisor.log_tail(program.name)}"
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


def _admission(api: client.Client, probe: client.Object) -> str | None:
    """Tell what keeps the API server from using the webhooks, or None."""
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
