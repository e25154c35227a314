"""The files of a release, made as the workflow makes them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries

import lws_kueue
from tests.kit import helm
from tests.kit.live.kubectl import kubectl

pytestmark = pytest.mark.long

IMAGE: Final = f"registry.example.com/lws-kueue@sha256:{'1' * 64}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    programs = tmp_path_factory.mktemp("programs")
    (programs / "helm").symlink_to(helm.program())
    (programs / "kubectl").symlink_to(binaries.ensure()["kubectl"])
    output = tmp_path_factory.mktemp("release") / "dist"
    done = subprocess.run(
        [sys.executable, "-m", "tools.release", "--output", str(output), "--image", IMAGE],
        cwd=helm.ROOT,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def load(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    objects = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}


def test_everything_that_is_released_is_there_with_checksums_that_fit(made: Path) -> None:
    version = lws_kueue.__version__
    assert {file.name for file in made.iterdir()} == {
        *(f"lws_kueue{part}-{version}.tar.gz" for part in ("", "_lab")),
        *(f"lws_kueue{part}-{version}-py3-none-any.whl" for part in ("", "_lab")),
        *("manifests.yaml", "kueue.yaml", "volcano.yaml", "default-priority-class.yaml"),
        *("prometheus.yaml", f"lws-kueue-{version}.tgz", "SHA256SUMS"),
    }
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=made,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count(": OK\n") == len(list(made.iterdir())) - 1


def test_the_manifests_are_those_of_deploy_but_for_the_image(
    cluster: sandbox.Sandbox, made: Path
) -> None:
    released = load(made / "manifests.yaml")
    rendered = kubectl(cluster, "kustomize", str(helm.ROOT / "deploy"))
    expected = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(rendered)}
    (container,) = released["Deployment", "lws-kueue"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == IMAGE
    (other,) = expected["Deployment", "lws-kueue"]["spec"]["template"]["spec"]["containers"]
    container["image"] = other["image"]
    assert released == expected


def test_the_packed_chart_renders_what_the_chart_of_the_tree_renders(
    made: Path, tmp_path: Path
) -> None:
    (packed,) = made.glob("*.tgz")
    assert helm.render(home=tmp_path, chart=packed) == helm.render(home=tmp_path)
