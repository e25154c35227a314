"""When a sandbox is ready: the API server answers, nodes are Ready and a pod can run."""

import dataclasses
import time
from collections.abc import Callable, Mapping

import urllib3.exceptions

from lws_kueue_lab.sandbox import client, cluster, nodes

_API_SERVER_TIMEOUT_SECONDS = 120.0
_USABLE_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.1
_CHECK_EVERY_SECONDS = 2.0

_PROBE_NAMESPACE = "default"
_PROBE_NAME = "sandbox-probe"

Check = Callable[[], None]


def wait_for_api_server(
    api: client.Client, *, check: Check, timeout: float = _API_SERVER_TIMEOUT_SECONDS
) -> None:
    """Wait until the API server says that it is ready.

    `check` raises when a component died, which ends the wait at once. There is nothing to watch
    yet, so this is the one place that polls.
    """
    deadline = time.monotonic() + timeout
    said = ""
    while time.monotonic() < deadline:
        check()
        try:
            api.request("GET", "/readyz", timeout=5)
            return
        except client.ApiError as error:
            said = str(error.body or error.reason)
        except urllib3.exceptions.HTTPError as error:
            said = str(error)
        time.sleep(_POLL_SECONDS)
    raise cluster.SandboxError(f"the API server was not ready after {timeout:g} s: {said}")


def populate(api: client.Client, options: cluster.Options) -> None:
    """Create the nodes."""
    for node in nodes.build(options):
        api.create(node)


def wait_until_usable(api: client.Client, options: cluster.Options, *, check: Check) -> None:
    """Wait until the nodes are Ready and a pod runs on one of them.

    The pod proves the whole chain: service accounts, scheduler and kwok. Raises what `check`
    raises as soon as a component dies, and `SandboxError` when the time is up.
    """
    watcher = _Watcher(api, check)
    watcher.wait("ServiceAccount", lambda found: "default" in found, namespace=_PROBE_NAMESPACE)
    if nodes.build(options):
        watcher.wait("Node", _all_ready)
        _run_probe(watcher)


@dataclasses.dataclass(frozen=True, slots=True)
class _Watcher:
    """Unadmitted for objects while looking after the components."""

    api: client.Client
    check: Check

    def wait(
        self,
        kind: str,
        predicate: Callable[[Mapping[str, client.Object]], bool],
        *,
        namespace: str | None = None,
    ) -> None:
        """Wait until `predicate` holds for the objects of a core kind, given by name."""
        deadline = time.monotonic() + _USABLE_TIMEOUT_SECONDS
        while True:
            self.check()
            try:
                self.api.wait_for_all(
                    "v1",
                    kind,
                    predicate,
                    namespace=namespace,
                    timeout=_CHECK_EVERY_SECONDS,
                )
            except client.WaitTimeoutError as error:
                if time.monotonic() > deadline:
                    raise cluster.SandboxError(f"the sandbox is not usable: {error}") from error
            else:
                return


def _all_ready(found: Mapping[str, client.Object]) -> bool:
    return bool(found) and all(_is_ready(node) for node in found.values())


def _is_ready(node: client.Object) -> bool:
    # A node is usable when the controller has also seen it Ready and taken its taint away.
    conditions = node.get("status", {}).get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not node["spec"].get("taints")


def _run_probe(watcher: _Watcher) -> None:
    """Run a pod and remove it again."""
    watcher.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": _PROBE_NAME, "namespace": _PROBE_NAMESPACE},
            "spec": {
                "containers": [{"name": "probe", "image": "probe"}],
                "terminationGracePeriodSeconds": 0,
            },
        }
    )
    watcher.wait("Pod", _probe_runs, namespace=_PROBE_NAMESPACE)
    watcher.api.delete("v1", "Pod", _PROBE_NAME, namespace=_PROBE_NAMESPACE)
    watcher.wait("Pod", lambda found: _PROBE_NAME not in found, namespace=_PROBE_NAMESPACE)


def _probe_runs(found: Mapping[str, client.Object]) -> bool:
    probe = found.get(_PROBE_NAME)
    return probe is not None and probe["status"].get("phase") == "Running"
