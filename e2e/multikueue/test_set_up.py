"""What docs/multikueue.md says under "Set it up", command by command."""

import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries, client, kueue_manager

from e2e.multikueue import conftest
from lws_kueue.api import names
from tests.kit.kueue import clusters, places, queued
from tests.kit.lws.sample import LWS

pytestmark = pytest.mark.long

ROOT: Final = Path(__file__).resolve().parents[2]
SECTION: Final = "\n## Set it up\n"
REAL: Final = kueue_manager.from_environment() is not None
NAMESPACE: Final = "default"
# Pods of a group of the sample.
SIZE: Final = 3


def commands() -> list[str]:
    """Return the commands of the section, as they stand there."""
    text = (ROOT / "docs" / "multikueue.md").read_text(encoding="utf-8")
    section = text.partition(SECTION)[2].partition("\n## ")[0]
    return section.partition("```sh\n")[2].partition("```")[0].splitlines()


def contexts(named: dict[str, sandbox.Sandbox]) -> str:
    """Return one kubeconfig with a context for each cluster."""
    merged: dict[str, list[dict[str, object]]] = {"clusters": [], "contexts": [], "users": []}
    for name, cluster in named.items():
        own = yaml.safe_load(cluster.kubeconfig.read_text())
        for kind in ("cluster", "user"):
            (entry,) = own[f"{kind}s"]
            merged[f"{kind}s"].append({"name": name, kind: entry[kind]})
        merged["contexts"].append({"name": name, "context": {"cluster": name, "user": name}})
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **merged})


@pytest.fixture(scope="module")
def pair(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.Clusters]:
    """A manager and a worker as the section finds them."""
    with conftest.opening(backend, tmp_path_factory, mode="auto", workers=("worker1",)) as opened:
        # The stand-in for Kueue has no integration that could be on.
        on = clusters.INTEGRATION if REAL else clusters.BRIDGE
        opened.kueue(manager=on, workers=clusters.BRIDGE)
        namespace = {"apiVersion": "v1", "kind": "Namespace"}
        for place in opened.every:
            # The stand-in for Kueue is in none.
            place.cluster.api.apply({**namespace, "metadata": {"name": clusters.KUEUE_NAMESPACE}})
        yield opened


@pytest.fixture
def done(pair: clusters.Clusters, tmp_path: Path) -> Iterator[clusters.Clusters]:
    """All commands were given, one after the other."""
    for folder in ("deploy", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    named = {"manager": pair.manager, **pair.workers}
    (tmp_path / "config").write_text(
        contexts({name: place.cluster for name, place in named.items()})
    )
    programs = binaries.ensure()["kubectl"].parent
    environment = {
        **os.environ,
        "KUBECONFIG": str(tmp_path / "config"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    for command in commands():
        given = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert given.returncode == 0, f"{command}\n{given.stdout}{given.stderr}"
    yield pair
    for place in pair.every:
        print(place.controller.tail(60))


def credentials(pair: clusters.Clusters, folder: Path) -> client.Client:
    """Return a client with what the manager was given for the worker."""
    stored = pair.manager.cluster.api.get(
        "v1", "Secret", "worker1", namespace=clusters.KUEUE_NAMESPACE
    )
    file = folder / "stored.yaml"
    file.write_bytes(base64.b64decode(stored["data"]["kubeconfig"]))
    return client.Client(file)


def dispatched(one: queued.Queued, worker: places.Place) -> None:
    """Wait until the set runs in the worker, and its pods in the manager stay where they are."""
    one.wait_workloads(
        lambda seen: (
            len(seen) == 2
            and {w.get("status", {}).get("clusterName") for w in seen.values()} == {"worker1"}
        ),
        what="both groups are in worker1",
    )
    queued.Queued(worker.cluster, NAMESPACE, one.name).wait_ready(2)
    for group in (0, 1):
        one.wait_gated(group, pods=SIZE)


def test_ten_commands_have_a_set_dispatched_with_no_more_rights_than_that_needs(
    done: clusters.Clusters, tmp_path: Path
) -> None:
    assert len(commands()) == 10
    one = queued.Queued(done.manager.cluster, NAMESPACE, "sample")
    worker = done.workers["worker1"]
    kueue = credentials(done, tmp_path)
    kueue.list(names.KUEUE_API_VERSION, "Workload", namespace=NAMESPACE)
    kueue.list(*LWS, namespace=NAMESPACE)
    with pytest.raises(client.ApiError) as refused:
        kueue.list("v1", "Secret", namespace=NAMESPACE)
    assert refused.value.status == 403
    if REAL:
        dispatched(one, worker)
    else:
        # The stand-in has no integration and dispatches nothing: the set says so.
        one.wait_told("asks for AdmissionCheck multikueue", names.KUEUE_LWS_FRAMEWORK)
    done.manager.cluster.api.delete(*LWS, one.name, namespace=NAMESPACE)
    for place in done.every:
        for kind in (LWS, queued.WORKLOAD, ("v1", "Pod")):
            place.cluster.api.wait_for_all(
                *kind,
                lambda seen: not seen,
                namespace=NAMESPACE,
                timeout=queued.TIMEOUT,
                what=f"no {kind[1]}",
            )
