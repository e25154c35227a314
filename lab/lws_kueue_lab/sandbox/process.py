"""The `process` back end: the control plane as child processes on loopback."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lws_kueue_lab.sandbox import (
    binaries,
    client,
    cluster,
    components,
    credentials,
    ports,
    readiness,
    supervision,
)

_PORT_ATTEMPTS = 5


class ProcessSandbox(cluster.Sandbox):
    """A running control plane that belongs to this process."""

    backend: cluster.Backend = "process"

    def __init__(
        self,
        *,
        options: cluster.Options,
        owned: supervision.Supervision,
        programs: dict[str, Path],
    ) -> None:
        self.options = options
        self.programs = programs
        self._owned = owned
        self._credentials = credentials.create(owned.directory / "credentials")
        self._layout: components.Layout | None = None
        self._api: client.Client | None = None

    @property
    def directory(self) -> Path:
        """The directory of the supervisor, which removes it."""
        return self._owned.directory

    @property
    def kubeconfig(self) -> Path:
        """The file with admin credentials."""
        return self._credentials.kubeconfig("admin")

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

    def check(self) -> None:
        """Raise `ComponentDiedError` if a component ended that nobody stopped."""
        self._owned.check()

    def processes(self) -> dict[str, int]:
        """The process ids of the components that run, by name."""
        return self._owned.running()

    def stop_api_server(self) -> None:
        """Kill the API server; its data stays in etcd."""
        self._owned.stop("kube-apiserver")

    def start_api_server(self) -> None:
        """Start the API server again on its old port and wait until it is ready."""
        self._start(components.api_server(self._laid_out(), self.options))
        readiness.wait_for_api_server(self.api, check=self.check)

    def start(self) -> None:
        """Start everything and wait until a pod can run."""
        self._start_api_server_on_free_port()
        layout = self._laid_out()
        self._start(components.controller_manager(layout, self.options))
        self._start(components.scheduler(layout))
        self._start(components.kwok(layout))
        readiness.populate(self.api, self.options)
        readiness.wait_until_usable(self.api, self.options, check=self.check)

    def close(self) -> None:
        """Give the client's connections back; the processes end with the supervision."""
        if self._api is not None:
            self._api.close()

    def _start_api_server_on_free_port(self) -> None:
        """Another process may take the port between the choice and the start; then try again."""
        for attempt in range(_PORT_ATTEMPTS):
            self._lay_out(port=ports.free(1)[0])
            if attempt == 0:
                self._start(components.etcd(self._laid_out()))
            self._start(components.api_server(self._laid_out(), self.options))
            try:
                readiness.wait_for_api_server(self.api, check=self.check)
                return
            except cluster.ComponentDiedError as error:
                if "address already in use" not in error.log_tail:
                    raise
                self._owned.stop("kube-apiserver")
        raise cluster.SandboxError("found no free port for the API server")

    def _lay_out(self, *, port: int) -> None:
        audit_log = self.audit_log
        self._layout = components.Layout(
            directory=self.directory,
            data=self.directory / "etcd",
            # Relative to the working directory of the components: a socket's path is limited to
            # a hundred characters, which a temporary directory may exceed.
            etcd_client="unix://etcd.sock:0",
            etcd_peer="unix://etcd-peer.sock:0",
            bind_address="127.0.0.1",
            port=port,
            audit_log=str(audit_log) if audit_log else None,
        )
        self._credentials.write_kubeconfigs(server=f"https://127.0.0.1:{port}")
        components.write_configuration(self._layout, self.options, into=self.directory)
        self.close()
        self._api = client.Client(self.kubeconfig)

    def _laid_out(self) -> components.Layout:
        if self._layout is None:
            raise cluster.SandboxError("the sandbox has not been started")
        return self._layout

    def _start(self, component: components.Component) -> None:
        self._owned.start(
            component.name,
            [str(self.programs[component.name]), *component.arguments],
            environment=dict(component.environment),
        )


@contextlib.contextmanager
def open_process(options: cluster.Options) -> Iterator[ProcessSandbox]:
    """Build what is missing, start a control plane, and end it when the context does."""
    programs = binaries.ensure()
    with contextlib.closing(supervision.Supervision()) as owned:
        sandbox = ProcessSandbox(options=options, owned=owned, programs=programs)
        with contextlib.closing(sandbox):
            sandbox.start()
            yield sandbox
