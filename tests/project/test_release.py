"""A release: what is checked before it, and what it promises."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from lws_kueue_lab.sandbox import binaries

import lws_kueue
from tests.project.test_project import ROOT, text
from tools import release

DIGEST = f"example.com/mine@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("tag", "heading", "said"),
    [
        ("v1.2.3", "## 1.2.3 (2026-11-30)", []),
        ("v1.2.4", "## 1.2.3 (2026-11-30)", ["tag v1.2.3"]),
        ("1.2.3", "## 1.2.3 (2026-11-30)", ["tag v1.2.3"]),
        ("v1.2.3", "## 1.2.3 (unreleased)", ["date it"]),
        ("v1.2.3", "## 1.2.30 (2026-11-30)", ["date it"]),
    ],
)
def test_a_tag_is_released_if_it_is_the_version_and_the_changelog_has_its_date(
    tag: str, heading: str, said: list[str]
) -> None:
    found = release.problems(tag, changelog=f"# Changelog\n\n{heading}\n", version="1.2.3")
    assert len(found) == len(said)
    assert all(part in problem for part, problem in zip(said, found, strict=True))


def test_the_command_says_what_is_missing_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["--check", "v0.0.1"]) == 1
    assert f"tag v{lws_kueue.__version__}" in capsys.readouterr().err


def test_the_manifests_of_a_release_name_the_image_by_its_digest() -> None:
    manifest = text("deploy/manager/deployment.yaml")
    replaced = yaml.safe_load(release.with_image(manifest, DIGEST))
    (container,) = replaced["spec"]["template"]["spec"]["containers"]
    assert container["image"] == DIGEST
    container["image"] = yaml.safe_load(manifest)["spec"]["template"]["spec"]["containers"][0][
        "image"
    ]
    assert replaced == yaml.safe_load(manifest)


@pytest.mark.parametrize(
    ("manifest", "image", "said"),
    [
        ("image: a\n", "example.com/mine:0.1.0", "not named by its digest"),
        ("image: a\nimage: b\n", DIGEST, "there are 2 images"),
        ("kind: Service\n", DIGEST, "there are 0 images"),
    ],
)
def test_an_image_without_digest_or_place_is_refused(manifest: str, image: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        release.with_image(manifest, image)


def test_checksums_are_lines_that_sha256sum_reads_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in "ab"]
    written = release.checksums(list(tmp_path.iterdir()))
    assert written == f"{digests[0]}  a\n{digests[1]}  b\n"


def test_nothing_is_released_out_of_a_folder_that_has_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.whl").touch()
    assert release.main(["--output", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_every_folder_that_is_rendered_into_a_release_exists_and_the_document_names_its_file() -> (
    None
):
    for name, folder in release.MANIFESTS.items():
        assert (ROOT / folder / "kustomization.yaml").exists()
        assert f"`{name}`" in text("RELEASE.md")


def test_the_support_matrix_says_what_the_tests_run_with() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]*) \| ([^|]*) \|", text("RELEASE.md"), re.MULTILINE)
    tested = {name.strip(): cell.strip() for name, cell, _ in rows}
    should = {name.strip(): cell.strip() for name, _, cell in rows}
    assert f"v{tested['Kubernetes']}" == binaries.KUBERNETES.version
    assert f"v{tested['Helm']}" == binaries.HELM.version
    (kueue,) = re.findall(r"KUEUE_VERSION:-v([\d.]+)\}", text("e2e/kind/run.sh"))
    assert tested["Kueue"] == kueue
    chart = yaml.safe_load(text("deploy/chart/Chart.yaml"))
    least = should["Kubernetes"].split()[0]
    assert chart["kubeVersion"] == f">={least}.0-0"
    python = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"]
    assert python == f">={should['Python, outside of the image'].split()[0]}"
    assert f"What {lws_kueue.__version__.rpartition('.')[0]} is tested with" in text("RELEASE.md")
