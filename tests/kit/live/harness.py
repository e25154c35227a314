"""What the whole-system tests of the controller share: its process, queues, and sets to apply."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from lws_kueue_lab import manifests, sandbox
from lws_kueue_lab.sandbox import client, recorder

from lws_kueue.api import names
from tests.kit import polling
from tests.kit.builders import cluster as build
from tests.kit.builders import sets

Recording = recorder.Recorder

SERVICE_ACCOUNT = ("lws-kueue-system", "lws-kueue")
STOP_SECONDS = 60.0

LISTED = "Everything is listed"

# Tests kill the controller often and start it again at once: no Lease to wait for, no port to find.
RUN = (
    *(sys.executable, "-m", "lws_kueue.cli", "run"),
    *("--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0"),
)

# On a real cluster this one can be pulled, and runs for ever.
IMAGE = "registry.k8s.io/pause:3.10"


class ControllerProcess:
    """The controller as a user runs it: one process, one kubeconfig, one log."""

    def __init__(
        self,
        *,
        kubeconfig: Path,
        log: Path,
        arguments: tuple[str, ...] = (),
        configuration: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``arguments`` and ``environment`` come on top of those that tests usually need.

        ``configuration`` are sections of the controller's configuration file, which is written
        beside its log.
        """
        self.kubeconfig = kubeconfig
        self.log = log
        self.arguments = arguments
        if configuration is not None:
            self.arguments = (*arguments, "--config", str(self.configure(configuration)))
        self.environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, configuration: Mapping[str, Any]) -> Path:
        """Write its configuration file, which it reads when it starts; returns where that is."""
        file = self.log.with_name("configuration.yaml")
        head = {"apiVersion": "config.lws.x-k8s.io/v1alpha1", "kind": "Configuration"}
        file.write_text(yaml.safe_dump({**head, **configuration}))
        return file

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, until: str = LISTED, patience: float = 90.0) -> None:
        """Start it and wait until its log says ``until``: by default, that everything is listed."""
        assert not self.running, "the controller runs already"
        mark = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*RUN, "--kubeconfig", self.kubeconfig, *self.arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_log(until, since=mark, patience=patience)
        except AssertionError:
            self.kill()
            raise

    def wait_log(self, text: str, *, since: int = 0, patience: float = 90.0) -> float:
        """Wait until its log says something; returns when that was seen, by the steady clock."""

        def said() -> bool:
            # Whoever has ended says nothing more, but may have said it before.
            ended = not self.running
            found = text.encode() in self.log.read_bytes()[since:]
            assert found or ended
            return found

        with contextlib.suppress(AssertionError):
            if polling.trying(timeout=patience, every=0.05)(said):
                return time.monotonic()
        raise AssertionError(f"the controller did not say {text!r}:\n{self.tail()}")

    def wait(self, *, patience: float = STOP_SECONDS) -> int:
        """Wait until it has ended by itself and return its exit status."""
        assert self._process is not None
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"it did not end in {patience} s:\n{self.tail()}") from error

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and return its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it without a chance to finish anything (SIGKILL)."""
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 60) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def install(cluster: sandbox.Sandbox, *options: str) -> None:
    """Install the API as a user does, and the service account with exactly its rights."""
    arguments = ["install", "--kubeconfig", str(cluster.kubeconfig), *options]
    command = [sys.executable, "-m", "lws_kueue.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # The Deployment is what a real cluster runs; here the process stands in for it.
    for obj in manifests.manager_objects():
        cluster.api.apply(obj)


def edit(
    cluster: sandbox.Sandbox,
    identity: tuple[str, str],
    name: str,
    change: Callable[[dict[str, Any]], None],
    *,
    namespace: str,
) -> dict[str, Any]:
    """Read, change and replace an object, again whenever somebody else wrote in between."""

    def once() -> dict[str, Any]:
        read = cluster.api.get(*identity, name, namespace=namespace)
        change(read)
        return cluster.api.replace(read)

    return polling.over_others()(once)


def leader_worker_set(
    name: str,
    *,
    namespace: str,
    replicas: int = 2,
    size: int = 3,
    queue: str | None = None,
    cpu: str = "100m",
    leader: bool = False,
    annotations: dict[str, str] | None = None,
    pod_annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A small set; ``spec`` is merged into its spec."""

    def template(container: str) -> dict[str, Any]:
        return sets.pod_template(
            sets.container(container, IMAGE, requests={"cpu": cpu}),
            annotations=pod_annotations,
            terminationGracePeriodSeconds=0,
        )

    return sets.leader_worker_set(
        name,
        namespace=namespace,
        replicas=replicas,
        size=size,
        worker=template("c"),
        leader=template("leader") if leader else None,
        queue=queue,
        annotations=annotations,
        **spec,
    )


def queues(
    cluster: sandbox.Sandbox,
    *,
    namespace: str,
    cpu: str,
    name: str = "user-queue",
    flavor_spec: Mapping[str, Any] | None = None,
    **spec: Any,
) -> str:
    """Make a flavor, a ClusterQueue with ``cpu`` and a LocalQueue of the namespace.

    ``flavor_spec`` is the flavor's spec; ``spec`` is merged into the ClusterQueue's.
    """
    quota = {namespace: {"cpu": cpu}}
    made = (
        build.kueues("ResourceFlavor", namespace, **(flavor_spec or {})),
        build.cluster_queue(namespace, quota, **spec),
        build.local_queue(name, namespace=namespace, cluster_queue=namespace),
    )
    for obj in made:
        cluster.api.apply(obj)
    return name


def set_quota(cluster: sandbox.Sandbox, *, namespace: str, cpu: str) -> None:
    """Change the quota that ``queues`` made."""
    queues(cluster, namespace=namespace, cpu=cpu)


def make_namespace(cluster: sandbox.Sandbox, name: str) -> str:
    """Make a namespace in which pods are accepted; returns its name."""
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    # Pods are refused until their service account exists.
    cluster.api.wait_for(
        "v1", "ServiceAccount", "default", lambda found: found is not None, namespace=name
    )
    return name


@contextlib.contextmanager
def own_namespace(cluster: sandbox.Sandbox, name: str, *, kept: bool = False) -> Iterator[str]:
    """A namespace that can be used, and is deleted without waiting for it; its queues go with it.

    ``kept`` is for clusters that are thrown away, and tests that start nothing but sets: these are
    deleted, and the namespace stays. To empty one, the API server is asked for objects of every
    kind that there is, which costs it as much as fifteen sets that are looked at in a dry run.
    """
    try:
        yield make_namespace(cluster, name)
    finally:
        if kept:
            _delete_sets(cluster, name)
        else:
            cluster.api.delete("v1", "Namespace", name, missing_ok=True)
        # Queues of the whole cluster that a test makes for itself have the name of its namespace.
        for kind in ("ClusterQueue", "ResourceFlavor"):
            with contextlib.suppress(LookupError, client.ApiError):
                cluster.api.delete(names.KUEUE_API_VERSION, kind, name, missing_ok=True)


def _delete_sets(cluster: sandbox.Sandbox, namespace: str) -> None:
    kind = (names.LWS_API_VERSION, names.LWS_KIND)
    with contextlib.suppress(LookupError):
        for obj in cluster.api.list(*kind, namespace=namespace):
            name = obj["metadata"]["name"]
            cluster.api.delete(*kind, name, namespace=namespace, missing_ok=True)


def scale(cluster: sandbox.Sandbox, name: str, *, namespace: str, replicas: int) -> None:
    """Scale a set as `kubectl scale` does."""
    cluster.api.patch(
        names.LWS_API_VERSION,
        names.LWS_KIND,
        name,
        namespace=namespace,
        body={"spec": {"replicas": replicas}},
        subresource="scale",
    )


def wait_status(
    cluster: sandbox.Sandbox,
    name: str,
    holds: Callable[[dict[str, Any]], Any] = bool,
    *,
    namespace: str,
    what: str = "the status",
    timeout: float = 60.0,
    **counters: int,
) -> dict[str, Any]:
    """Wait until a set's status tells of its spec as it is now, and of all that is asked.

    This is the way to read a status: what is read without it may tell of an earlier spec, or of a
    moment before the one that was waited for. ``holds`` is asked about the set, ``counters`` are
    fields of the status by name. Returns the set as it was then.
    """

    def told(obj: dict[str, Any] | None) -> bool:
        status = (obj or {}).get("status") or {}
        return bool(
            obj
            and status.get("observedGeneration") == obj["metadata"]["generation"]
            and all(status.get(field, 0) == number for field, number in counters.items())
            and holds(obj)
        )

    found = cluster.api.wait_for(
        names.LWS_API_VERSION,
        names.LWS_KIND,
        name,
        told,
        namespace=namespace,
        timeout=timeout,
        what=f"{name}: {what} {counters or ''}",
    )
    assert found is not None
    return found


def wait_ready(
    cluster: sandbox.Sandbox,
    name: str,
    *,
    namespace: str,
    groups: int,
    timeout: float = 60.0,
    **counters: int,
) -> dict[str, Any]:
    """Wait until exactly ``groups`` groups are ready, and none is left that an update replaces.

    Groups that an edit has not reached yet are ready as well; they are not what is waited for.
    """
    return wait_status(
        cluster,
        name,
        lambda obj: (condition(obj, "UpdateInProgress") or {}).get("status") != "True",
        namespace=namespace,
        what="ready, and no update in progress",
        timeout=timeout,
        readyReplicas=groups,
        **counters,
    )


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """One condition of an object's status."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), None)


def pods(cluster: sandbox.Sandbox, *, namespace: str) -> dict[str, dict[str, Any]]:
    """The pods of a namespace by name."""
    return {p["metadata"]["name"]: p for p in cluster.api.list("v1", "Pod", namespace=namespace)}


def wait_pods(
    cluster: sandbox.Sandbox,
    predicate: Callable[[dict[str, dict[str, Any]]], bool],
    *,
    namespace: str,
    what: str,
    timeout: float = 60.0,
) -> dict[str, dict[str, Any]]:
    """Wait until the pods of a namespace satisfy ``predicate``."""
    return cluster.api.wait_for_all(
        "v1",
        "Pod",
        lambda seen: predicate(dict(seen)),
        namespace=namespace,
        timeout=timeout,
        what=what,
    )


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Ready."""
    return (condition(pod, "Ready") or {}).get("status") == "True"


def gates(pod: dict[str, Any]) -> list[str]:
    """The names of a pod's scheduling gates."""
    return [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]


def is_gated(pod: dict[str, Any]) -> bool:
    """Whether a pod waits for Kueue's admission; Kueue's pod integration adds a gate to it."""
    return names.ADMISSION_GATE in gates(pod)


def recording(
    cluster: sandbox.Sandbox, api_version: str, kind: str, *, namespace: str
) -> contextlib.AbstractContextManager[Recording]:
    """Record watch events of a kind from now on, without a gap, until the context ends."""
    return Recording(cluster, (api_version, kind), namespace=namespace).watching()
