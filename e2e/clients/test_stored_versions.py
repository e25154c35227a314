"""Sets as LWS v0.5 to v0.10 stored them are served, and can be worked with.

They are stored under a definition without defaults and rules and without any policy, with the
fields that the webhooks of those versions filled in; then the project is installed over them.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue

from e2e.conftest import own_cluster
from lws_kueue.api import names
from lws_kueue.install import manifests
from tests.kit.live import harness, running, selection
from tests.kit.live.running import NAME, NEW_IMAGE, Running
from tests.kit.takeover import recordings
from tests.kit.takeover.stored import ANNOTATIONS, SPECS, TEMPLATE

Object = dict[str, Any]

IMAGE_PATH = f"/spec/{TEMPLATE}/workerTemplate/spec/containers/0/image"
SOME_TIME = "2025-01-01T00:00:00Z"
AVAILABLE = {
    "type": "Available",
    "status": "True",
    "reason": "AllGroupsReady",
    "message": "All replicas are ready",
    "lastTransitionTime": SOME_TIME,
}


IDS = {version: f"GIT-{number}" for number, version in enumerate(SPECS, start=34)}
# The oldest, the newest, and what no webhook has completed.
FEW = {"v0-5"}


def definition() -> Object:
    """The definition that lets everything be stored as it is given."""
    (obj,) = (o for o in manifests.api_objects() if o["kind"] == "CustomResourceDefinition")
    for version in obj["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"] = {
            "type": "object",
            "properties": {
                part: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                for part in ("spec", "status")
            },
        }
    return obj


def store(cluster: sandbox.Sandbox, version: str, kind: str) -> Running:
    """Store the set of a version in a namespace of its own, with a status of the time."""
    namespace = f"{version}-{kind}"
    meta = {"name": namespace}
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    queue = (
        harness.queues(cluster, namespace=namespace, cpu="4")
        if kind == "queued" and cluster.kueue.kind != "none"
        else None
    )
    labels = {names.QUEUE_NAME: queue} if queue else {}
    given = {
        "apiVersion": names.LWS_API_VERSION,
        "kind": names.LWS_KIND,
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": labels,
            "annotations": ANNOTATIONS.get(version, {}),
        },
        "spec": copy.deepcopy(SPECS[version]),
    }
    made = cluster.api.create(given)
    counted = {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2}
    status: Object = {
        **counted,
        "conditions": [AVAILABLE],
        "hpaPodSelector": f"{names.SET_NAME}={NAME},{names.WORKER_INDEX}=0",
    }
    if version in ("v0-9", "v0-10"):
        status["observedGeneration"] = 1
    cluster.api.replace({**made, "status": status}, subresource="status")
    return Running(cluster, namespace=namespace, folder=cluster.directory, given=given)


@pytest.fixture(scope="module")
def upgraded(
    request: pytest.FixtureRequest,
    backend: sandbox.Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, str], Running]]:
    """A cluster with sets of all versions that are looked at, and then with the project."""
    with (
        own_cluster(backend, sandbox.Options(nodes=4)) as cluster,
        kueue.start(cluster) as cluster.kueue,
    ):
        obj = cluster.api.apply(definition(), field_manager="lws-kueue-install")
        cluster.api.wait_for(
            obj["apiVersion"],
            obj["kind"],
            obj["metadata"]["name"],
            lambda found: recordings.holds(found, "Established"),
        )
        found = {
            (version, kind): store(cluster, version, kind)
            for version in selection.values(request, "version")
            for kind in selection.values(request, "kind")
        }
        harness.install(cluster)
        process = harness.ControllerProcess(
            kubeconfig=cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=tmp_path_factory.mktemp("stored") / "controller.log",
        )
        process.start()
        yield found
        print(process.tail())
        process.stop()


@pytest.mark.parametrize("kind", [pytest.param("plain", marks=pytest.mark.long), "queued"])
@pytest.mark.parametrize(
    "version",
    [
        pytest.param(
            version, marks=[pytest.mark.row(row), *(() if version in FEW else (pytest.mark.long,))]
        )
        for version, row in IDS.items()
    ],
)
def test_a_set_of_an_earlier_version_is_served_and_can_be_worked_with(
    upgraded: dict[tuple[str, str], Running], version: str, kind: str, tmp_path: Path
) -> None:
    served = upgraded[version, kind]
    groups = SPECS[version].get("replicas", 1)
    served.runs(groups=groups)
    size = SPECS[version][TEMPLATE].get("size", 1)
    assert len(served.pods()) == groups * size
    assert served.warnings() == []
    # All of it as it is read, as `kubectl replace` and operators write it.
    written = served.edit(lambda read: None)
    policy = SPECS[version][TEMPLATE]["restartPolicy"]
    if policy == "Default":
        # The old name of None, which any write replaces: another revision, as with LWS.
        assert written["spec"][TEMPLATE]["restartPolicy"] == "None"
        served.runs(groups=groups)
    else:
        served.goes_on(groups=groups)
    served.kubectl("scale", f"lws/{NAME}", f"--replicas={groups + 1}")
    served.goes_on(groups=groups + 1)
    served.file = tmp_path / "set.yaml"
    image = [{"op": "replace", "path": IMAGE_PATH, "value": NEW_IMAGE}]
    served.cluster.api.patch(
        *running.LWS, NAME, namespace=served.namespace, body=image, patch_type="json"
    )
    served.rolls_to(NEW_IMAGE, groups=groups + 1)
    assert served.warnings() == []
