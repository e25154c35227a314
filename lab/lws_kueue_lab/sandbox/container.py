"""The `container` back end: the same control plane, each component in a container.

One image, made from nothing but the static programs, serves all of them. They share the network
of the etcd container, so they find one another on loopback as processes do; only the API server's
port is published. Files are copied into the containers and the audit log is read from the API
server's standard output, so the engine may run on another machine.

Containers do not die with their owner. The supervisor of the sandbox, which outlives it, removes
them; testcontainers' own reaper is not used, because its image would have to be fetched.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from testcontainers.core import config as testcontainers_config
from testcontainers.core import container as testcontainers

from lws_kueue_lab.sandbox import (
    client,
    cluster,
    components,
    credentials,
    engine,
    image,
    readiness,
    supervision,
)

_PORT = 6443
_LOG_TAIL_LINES = 20
_LABEL = "dev.lws-kueue.sandbox"

# Run by the supervisor; it needs the docker package, so it is not part of the supervisor.
_REMOVE_ALL = """
import sys, docker
client = docker.from_env()
for container in client.containers.list(all=True, filters={"label": sys.argv[1]}):
    container.remove(force=True, v=True)
"""


class ContainerSandbox(cluster.Sandbox):
    """A control plane in containers that belong to this process."""

    backend: cluster.Backend = "container"

    def __init__(self, *, options: cluster.Options, owned: supervision.Supervision) -> None:
        self.options = options
        self._owned = owned
        self._containers: dict[str, testcontainers.DockerContainer] = {}
        self._label = f"{_LABEL}={owned.directory.name}"
        self._api: client.Client | None = None

    @property
    def directory(self) -> Path:
        """The directory of the supervisor, which removes it."""
        return self._owned.directory

    @property
    def kubeconfig(self) -> Path:
        """The file with admin credentials."""
        return self._inside.credentials / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path | None:
        """The audit log, unless the options go without."""
        return self.directory / "audit.log" if self.options.audit_log else None

    @property
    def api(self) -> client.Client:
        """A client with admin rights."""
        if self._api is None:
            raise cluster.SandboxError("the API server has not been started")
        return self._api

    @property
    def _inside(self) -> components.Layout:
        """The files of the containers as they lie on this machine, before they are copied."""
        return self._layout(self.directory / "sandbox")

    def check(self) -> None:
        """Raise `ComponentDiedError` if a container ended."""
        for name, container in self._containers.items():
            wrapped = container.get_wrapped_container()
            wrapped.reload()
            if wrapped.status == "running":
                continue
            tail = wrapped.logs(stdout=False, stderr=True, tail=_LOG_TAIL_LINES)
            raise cluster.ComponentDiedError(
                name=name,
                status=wrapped.attrs["State"]["ExitCode"],
                log_tail=tail.decode(errors="replace"),
            )

    def start(self, tag: str) -> None:
        """Start everything from the image `tag` and wait until a pod can run."""
        self._owned.at_end([sys.executable, "-c", _REMOVE_ALL, self._label])
        layout = self._layout(Path("/sandbox"))
        network = self._start(tag, components.etcd(layout), publish=True)
        host = network.get_container_host_ip()
        made = self._write_files(layout, host=host)
        api_server = self._start(tag, components.api_server(layout, self.options))
        if self.audit_log is not None:
            self._follow_audit_log(api_server, self.audit_log)
        # Inside, the admin has no business; outside, the address is another one.
        published = network.get_exposed_port(_PORT)
        made.write_kubeconfigs(server=f"https://{host}:{published}", users=["admin"])
        self._api = client.Client(self.kubeconfig)
        readiness.wait_for_api_server(self.api, check=self.check)
        self._start(tag, components.controller_manager(layout, self.options))
        self._start(tag, components.scheduler(layout))
        self._start(tag, components.kwok(layout))
        readiness.populate(self.api, self.options)
        readiness.wait_until_usable(self.api, self.options, check=self.check)

    def close(self) -> None:
        """Give all connections back; the containers end with the supervision."""
        if self._api is not None:
            self._api.close()
        for container in self._containers.values():
            container.get_docker_client().client.close()

    def _layout(self, directory: Path) -> components.Layout:
        return components.Layout(
            directory=directory,
            data=Path("/data/etcd"),
            # Loopback of a network that only these containers share.
            etcd_client="http://127.0.0.1:2379",
            etcd_peer="http://127.0.0.1:2380",
            bind_address="0.0.0.0",  # noqa: S104 (a port can only be published from there)
            port=_PORT,
            audit_log="-" if self.options.audit_log else None,
        )

    def _write_files(self, layout: components.Layout, *, host: str) -> credentials.Credentials:
        here = self._inside
        here.directory.mkdir()
        made = credentials.create(here.credentials, hosts=[host])
        made.write_kubeconfigs(server=f"https://127.0.0.1:{_PORT}")
        components.write_configuration(layout, self.options, into=here.directory)
        return made

    def _start(
        self, tag: str, component: components.Component, *, publish: bool = False
    ) -> testcontainers.DockerContainer:
        container = testcontainers.DockerContainer(tag)
        container.with_command([f"/{component.name}", *component.arguments])
        for key, value in component.environment:
            container.with_env(key, value)
        container.with_tmpfs_mount("/data").with_tmpfs_mount("/tmp")  # noqa: S108 (its own)
        settings: dict[str, Any] = {"labels": dict([self._label.split("=")])}
        if publish:
            container.with_exposed_ports(_PORT)
        else:
            settings["network_mode"] = f"container:{self._containers['etcd'].get_container_id()}"
            container.with_copy_into_container(self._inside.directory, "/")
        with _without_reaper():
            container.with_kwargs(**settings).start()
        self._containers[component.name] = container
        return container

    def _follow_audit_log(self, api_server: testcontainers.DockerContainer, path: Path) -> None:
        """Copy the standard output of the API server, which is its audit log, into a file."""
        output = api_server.get_wrapped_container().logs(
            stdout=True, stderr=False, stream=True, follow=True
        )
        path.touch()

        def copy() -> None:
            # It ends with the container; whatever is torn then is of no interest any more.
            with contextlib.suppress(Exception), path.open("ab", buffering=0) as file:
                for chunk in output:
                    file.write(chunk)

        threading.Thread(target=copy, daemon=True, name="sandbox-audit-log").start()


@contextlib.contextmanager
def open_container(options: cluster.Options) -> Iterator[ContainerSandbox]:
    """Build what is missing, start a control plane, and end it when the context does."""
    if problem := engine.problem():
        raise cluster.SandboxError(problem)
    tag = image.ensure()
    with contextlib.closing(supervision.Supervision()) as owned:
        sandbox = ContainerSandbox(options=options, owned=owned)
        with contextlib.closing(sandbox):
            sandbox.start(tag)
            yield sandbox


@contextlib.contextmanager
def _without_reaper() -> Iterator[None]:
    settings = testcontainers_config.testcontainers_config
    before = settings.ryuk_disabled
    settings.ryuk_disabled = True
    try:
        yield
    finally:
        settings.ryuk_disabled = before
