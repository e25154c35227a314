"""What the admission tests share: building objects, and reading what the API server says."""

import copy
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names, probes
from lws_kueue.install import manifests
from tests.kit import polling
from tests.kit.builders import sets as build

ROOT = Path(__file__).resolve().parents[3]

Object = dict[str, Any]


@functools.cache
def _manifests() -> tuple[Object, ...]:
    return tuple(manifests.api_objects())


def api_objects() -> list[Object]:
    """Return the definition, the policies and their bindings; parsing them takes seconds."""
    return copy.deepcopy(list(_manifests()))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Object:
    """Return `base` with `changes` merged in like a merge patch; None removes a field."""
    result: Object = copy.deepcopy(dict(base))
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def pod_template(container: str, image: str = "registry.example/app:1") -> Object:
    """Return a template with one container, with the empty metadata that every template gets."""
    return {"metadata": {}, "spec": {"containers": [{"name": container, "image": image}]}}


def base_set(
    *,
    namespace: str,
    name: str = "test-sample",
    spec: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Return the set that the acceptance rows start from (lws-contract 6), with changes."""
    worker = pod_template("worker")
    worker["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "protocol": "TCP"}]
    made = build.leader_worker_set(
        name,
        namespace=namespace,
        replicas=2,
        size=2,
        leader=pod_template("leader"),
        worker=worker,
        annotations=annotations,
        group={"restartPolicy": "RecreateGroupOnPodRestart"},
        rolloutStrategy=build.rolling(),
        startupPolicy="LeaderCreated",
        networkConfig={"subdomainPolicy": "Shared"},
    )
    return made | {"spec": merged(made["spec"], spec or {})}


def template(**changes: Any) -> Object:
    """Return a change of `spec.leaderWorkerTemplate`."""
    return {"leaderWorkerTemplate": changes}


def rollout(**changes: Any) -> Object:
    """Return a change of the rolling update's configuration."""
    return {"rolloutStrategy": {"rollingUpdateConfiguration": changes}}


@dataclasses.dataclass
class Refusal:
    """Why the API server refused a request."""

    status: int = 0
    message: str = ""
    fields: tuple[str, ...] = ()


@contextmanager
def refused() -> Iterator[Refusal]:
    """Expect the API server to refuse what happens inside, and tell how it did."""
    refusal = Refusal()
    with pytest.raises(client.ApiError) as caught:
        yield refusal
    answer = json.loads(str(caught.value.body))
    refusal.status = int(answer["code"])
    refusal.message = str(answer["message"])
    causes = (answer.get("details") or {}).get("causes") or []
    refusal.fields = tuple(cause["field"] for cause in causes if "field" in cause)
    # Anything else would be a fault of the test or of the server, not a decision.
    assert refusal.status in (403, 422), refusal


class Sets:
    """LeaderWorkerSets of one namespace; everything is a dry run unless it has to be stored."""

    def __init__(
        self, api: client.Client, namespace: str, api_version: str = names.LWS_API_VERSION
    ) -> None:
        self.api = api
        self.namespace = namespace
        self.api_version = api_version

    def build(
        self,
        spec: Mapping[str, Any] | None = None,
        *,
        name: str = "test-sample",
        annotations: Mapping[str, str] | None = None,
    ) -> Object:
        """Return the base set of this namespace, with changes."""
        obj = base_set(namespace=self.namespace, name=name, spec=spec, annotations=annotations)
        return obj | {"apiVersion": self.api_version}

    def accept(self, obj: Object) -> Object:
        """Return what would be stored."""
        return self.api.create(obj, dry_run=True)

    def store(self, obj: Object) -> Object:
        """Create the set."""
        return self.api.create(obj)

    def update(self, name: str, change: Mapping[str, Any], *, subresource: str = "") -> Object:
        """Merge `change` into the stored set."""
        return self.api.patch(
            self.api_version,
            names.LWS_KIND,
            name,
            namespace=self.namespace,
            body=dict(change),
            subresource=subresource,
        )

    def get(self, name: str) -> Object:
        """Return the stored set."""
        return self.api.get(self.api_version, names.LWS_KIND, name, namespace=self.namespace)

    def delete(self, name: str) -> None:
        """Delete the set."""
        self.api.delete(self.api_version, names.LWS_KIND, name, namespace=self.namespace)


def eventually(condition: Callable[[], bool], *, what: str, timeout: float = 90.0) -> None:
    """Ask until `condition` holds; for what no watch can tell."""

    def holds() -> None:
        assert condition(), f"not within {timeout} s: {what}"

    polling.trying(timeout=timeout, every=0.05)(holds)


def wait_for_kind(api: client.Client, api_version: str) -> None:
    """Wait until the API server serves LeaderWorkerSets of this group and version."""

    def served() -> bool:
        try:
            api.list(api_version, names.LWS_KIND)
        except (LookupError, client.ApiError):
            return False
        return True

    eventually(served, what=f"{api_version} is served")


def wait_until_policies_are_active(api: client.Client) -> None:
    """Send the probes until each of them gets the answer that proves its policy."""
    for probe in probes.probes():
        active = functools.partial(is_active, api, probe)
        eventually(active, what=f"{probe.policy} is active")


def is_active(api: client.Client, probe: probes.Probe) -> bool:
    """Send one probe and judge the answer."""
    try:
        answer = api.request("POST", probe.path, body=probe.body)
    except client.ApiError as error:
        return probe.holds(status=int(error.status or 0), answer=_decoded(error))
    return probe.holds(status=200, answer=answer)


def _decoded(error: client.ApiError) -> Object:
    try:
        answer = json.loads(str(error.body))
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


class Pods:
    """Pods that are created directly, as a dry run, in one namespace."""

    def __init__(self, api: client.Client, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def build(
        self,
        name: str,
        *,
        labels: Mapping[str, str],
        annotations: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> Object:
        """Return a pod with one container in the subdomain `default`, with changes."""
        base = {"subdomain": "default", "containers": [{"name": "c", "image": "image"}]}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": dict(labels),
                "annotations": dict(annotations or {}),
            },
            "spec": merged(base, spec or {}),
        }

    def leader(
        self,
        name: str,
        *,
        lws: str = "test",
        size: str = "2",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> Object:
        """Return a leader as its StatefulSet would create it."""
        return self.build(
            name,
            labels={names.SET_NAME: lws, names.WORKER_INDEX: "0", **(labels or {})},
            annotations={names.SIZE: size, **(annotations or {})},
            spec=spec,
        )

    def worker(
        self,
        name: str,
        *,
        lws: str = "test",
        group: str = "1",
        size: str = "2",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> Object:
        """Return a worker as its StatefulSet would create it."""
        return self.build(
            name,
            labels={names.SET_NAME: lws, names.GROUP_INDEX: group, **(labels or {})},
            annotations={names.SIZE: size, **(annotations or {})},
            spec=spec,
        )

    def accept(self, pod: Object) -> Object:
        """Return what would be stored."""
        return self.api.create(pod, dry_run=True)


def env(container: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return names and literal values of a container's variables, in order."""
    return [(entry["name"], entry.get("value")) for entry in container.get("env") or ()]


def labels(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of a pod."""
    return dict(pod["metadata"]["labels"])


def tpu_container(
    name: str = "tpu", *, amount: Any = 4, kind: str = "limits", **env: str
) -> Object:
    """Return a container that asks for TPUs, with variables of its own."""
    return {
        "name": name,
        "image": "image",
        "resources": {kind: {"google.com/tpu": amount}},
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
