"""A set that runs, for clients to handle, and what has to be true of it when they have.

Each row of the tests ends the same way: all groups are there as the set says, no pod was replaced
that did not have to be, and the controller has nothing more to write.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names
from tests.kit.judge import budget
from tests.kit.live import harness
from tests.kit.live.kubectl import kubectl
from tests.kit.lws import sets
from tests.kit.lws.sample import Sample

Object = dict[str, Any]

LWS: Final = (names.LWS_API_VERSION, names.LWS_KIND)
STATEFULSET: Final = ("apps/v1", "StatefulSet")
EVENT: Final = ("events.k8s.io/v1", "Event")
NAME: Final = "served"
APP: Final = {"app": "x"}
# Longer than a status waits after the one before.
QUIET_SECONDS: Final = 1.5
NEW_IMAGE: Final = "registry.k8s.io/pause:3.9"


def manifest(namespace: str, *, queue: str | None, **options: Any) -> Object:
    """The set as somebody keeps it in a file: what has a default is left out."""
    given = harness.leader_worker_set(
        NAME, namespace=namespace, queue=queue, **{"replicas": 2, "size": 2, **options}
    )
    meta = given["metadata"]
    meta["labels"] = meta.get("labels", {}) | APP
    if not meta["annotations"]:
        del meta["annotations"]
    return given


class Running:
    """A set that runs in a namespace of its own, and the file that it came from."""

    def __init__(
        self, cluster: sandbox.Sandbox, *, namespace: str, folder: Path, given: Object
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.given = given
        self.file = folder / "set.yaml"
        self.before: dict[str, str] = {}
        self.write(given)

    # The file and the set ---------------------------------------------------------------------

    def write(self, obj: Object) -> None:
        self.file.write_text(yaml.safe_dump(obj, sort_keys=False))

    def kubectl(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        command = (f"--namespace={self.namespace}", *arguments)
        return kubectl(self.cluster, *command, environment=environment)

    def get(self) -> Object:
        return self.cluster.api.get(*LWS, NAME, namespace=self.namespace)

    def path(self) -> str:
        resource = self.cluster.api.resource(*LWS)
        return resource.path(namespace=self.namespace, name=NAME)

    def apply(self, obj: Object, *, manager: str, force: bool = False) -> Object:
        """Server-side apply by somebody."""
        answer: Object = self.cluster.api.request(
            "PATCH",
            self.path(),
            query={"fieldManager": manager, "force": force},
            body=obj,
            content_type="application/apply-patch+yaml",
        )
        return answer

    def replace(self, obj: Object) -> Object:
        """PUT by somebody who has read the resourceVersion and nothing else."""

        def by_this(read: Object) -> None:
            version = read["metadata"]["resourceVersion"]
            read.clear()
            read |= {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}

        return self.edit(by_this)

    def edit(self, change: Callable[[Object], None]) -> Object:
        """PUT of what was read and changed."""
        return harness.edit(self.cluster, LWS, NAME, change, namespace=self.namespace)

    # What became of it ------------------------------------------------------------------------

    def pods(self) -> dict[str, Object]:
        return harness.pods(self.cluster, namespace=self.namespace)

    def runs(self, *, groups: int = 2) -> None:
        """Wait until it runs and nothing is written any more, and remember its pods."""
        sample = Sample(self.cluster, self.namespace, NAME)
        sets.wait_available(sample, groups=groups)
        budget.settled(self.cluster, namespace=self.namespace, quiet=QUIET_SECONDS)
        self.before = sets.uids(self.pods())

    def goes_on(self, *, groups: int = 2) -> None:
        """It is as before: no pod that is still wanted was replaced, and no Warning came."""
        before = self.before
        self.runs(groups=groups)
        stayed = before.keys() & self.before.keys()
        assert len(stayed) == min(len(before), len(self.before))
        assert {name: before[name] for name in stayed} == {
            name: self.before[name] for name in stayed
        }
        assert self.warnings() == []

    def rolls_to(self, image: str, *, groups: int = 2) -> None:
        """All pods come to run an image."""
        harness.wait_pods(
            self.cluster,
            lambda pods: (
                all(map(harness.is_ready, pods.values()))
                and {image_of(pod) for pod in pods.values()} == {image}
            ),
            namespace=self.namespace,
            what=f"all pods run {image}",
        )
        self.runs(groups=groups)

    def warnings(self) -> list[str]:
        """What has been said of the set as a warning."""
        return [
            f"{event['reason']}: {event['note']}"
            for event in self.cluster.api.list(*EVENT, namespace=self.namespace)
            if event["type"] == "Warning" and event["regarding"]["kind"] == names.LWS_KIND
        ]

    def children(self) -> list[Object]:
        """Everything that was made for the set."""
        kinds = [STATEFULSET, ("v1", "Pod"), ("v1", "Service"), ("apps/v1", "ControllerRevision")]
        if self.cluster.kueue.kind != "none":
            kinds.append((names.KUEUE_API_VERSION, "Workload"))
        return [
            obj
            for api_version, kind in kinds
            for obj in self.cluster.api.list(api_version, kind, namespace=self.namespace)
        ]


def image_of(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def writes_of(cluster: sandbox.Sandbox, namespace: str) -> int:
    """How many writes the controller has made in a namespace."""
    return len(budget.writes(cluster, namespace=namespace))


ApiError = client.ApiError
