"""What of `make e2e-kind` can be checked without kind: its files and the commands it would run."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import kueue_settings

from lws_kueue.api import names

ROOT = Path(__file__).resolve().parents[2]
KIND = ROOT / "e2e" / "kind"
SCRIPTS = (KIND / "run.sh", ROOT / ".ci" / "run")

# The fields of kind.x-k8s.io/v1alpha4; kind refuses a configuration with others.
CLUSTER_FIELDS = {
    "apiVersion",
    "kind",
    "name",
    "nodes",
    "networking",
    "featureGates",
    "runtimeConfig",
    "kubeadmConfigPatches",
    "kubeadmConfigPatchesJSON6902",
    "containerdConfigPatches",
    "containerdConfigPatchesJSON6902",
}
NODE_FIELDS = {
    "role",
    "image",
    "labels",
    "extraMounts",
    "extraPortMappings",
    "kubeadmConfigPatches",
    "kubeadmConfigPatchesJSON6902",
}


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((KIND / name).read_text(encoding="utf-8"))
    return found


def dry_run(*arguments: str) -> list[str]:
    done = subprocess.run(
        [str(KIND / "run.sh"), "--dry-run", *arguments],
        capture_output=True,
        text=True,
        check=True,
        # Without PATH to kind, kubectl or docker: a dry run needs none of them.
        env={"PATH": "/usr/bin:/bin"},
    )
    return [line.removeprefix("+ ") for line in done.stdout.splitlines()]


def test_the_cluster_has_only_fields_that_kind_knows() -> None:
    cluster = load("cluster.yaml")
    assert (cluster["kind"], cluster["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert set(cluster) <= CLUSTER_FIELDS
    for node in cluster["nodes"]:
        assert set(node) <= NODE_FIELDS


def test_the_cluster_is_one_control_plane_and_four_workers_of_the_least_version() -> None:
    nodes = load("cluster.yaml")["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", *["worker"] * 4]
    (image,) = {node["image"] for node in nodes}
    assert image.startswith("kindest/node:v1.36.")


def test_the_workers_have_the_topology_labels_of_the_sandbox() -> None:
    labels = [node["labels"] for node in load("cluster.yaml")["nodes"][1:]]
    assert {frozenset(one) for one in labels} == {
        frozenset({sandbox.BLOCK_LABEL, sandbox.RACK_LABEL})
    }
    assert len({one[sandbox.BLOCK_LABEL] for one in labels}) == 2
    assert len({one[sandbox.RACK_LABEL] for one in labels}) == 4


def test_kueue_is_configured_as_the_sandbox_configures_it_where_it_matters() -> None:
    data = load("kueue-config.yaml")["data"]
    configuration = yaml.safe_load(data["controller_manager_config.yaml"])
    integrations = configuration["integrations"]
    assert tuple(integrations["frameworks"]) == kueue_settings.RELEASED_FRAMEWORKS
    assert names.KUEUE_LWS_FRAMEWORK not in integrations["frameworks"]
    assert integrations["externalFrameworks"] == [kueue_settings.LEADER_WORKER_SET]


def test_a_dry_run_prints_every_step_and_runs_none() -> None:
    commands = dry_run()
    assert [command.split()[0] for command in commands[:3]] == ["docker", "kind", "kind"]
    wanted = (
        "kind create cluster",
        "kind load docker-image",
        "kubectl apply --server-side -f https://github.com/kubernetes-sigs/kueue/releases/",
        "kubectl apply --server-side -k deploy",
        ".venv/bin/pytest e2e --kubeconfig",
        "kind delete cluster",
    )
    order = [next(n for n, one in enumerate(commands) if one.startswith(w)) for w in wanted]
    assert order == sorted(order)


def test_every_file_that_a_step_names_exists() -> None:
    words = {word for command in dry_run() for word in command.split()}
    local = {word for word in words if word.startswith(("e2e", "deploy", "examples"))}
    files = {word for word in local if word not in ("deployment/lws-kueue",)}
    files = {word for word in files if not word.startswith("deployment/")}
    assert {"e2e", "deploy", "e2e/kind/cluster.yaml", "examples/queues.yaml"} <= files
    assert [word for word in files if not (ROOT / word).exists()] == []


def test_the_image_that_is_loaded_is_the_one_that_the_deployment_asks_for() -> None:
    text = (ROOT / "deploy/manager/deployment.yaml").read_text(encoding="utf-8")
    (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    assert f"kind load docker-image {container['image']} --name lws-kueue" in dry_run()


def test_keep_leaves_the_cluster() -> None:
    assert not any(command.startswith("kind delete") for command in dry_run("--keep"))


def test_arguments_after_two_dashes_go_to_pytest() -> None:
    assert any(command.endswith("-k release") for command in dry_run("--", "-k", "release"))


def test_an_unknown_option_is_refused() -> None:
    done = subprocess.run([str(KIND / "run.sh"), "--drY"], capture_output=True, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.relative_to(ROOT).as_posix())
def test_a_shell_script_is_executable_and_parses(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.relative_to(ROOT).as_posix())
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
