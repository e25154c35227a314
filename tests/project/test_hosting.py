"""What the hosting service runs and shows: workflows, dependabot, templates of issues."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit import actionlint
from tests.project.test_project import ROOT, text

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def load(file: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(file)["jobs"]
    return found


def commands(file: Path) -> Iterator[str]:
    """Every command that a workflow runs by itself."""
    for job in jobs(file).values():
        for step in job.get("steps", []):
            if "run" in step:
                yield step["run"]


def test_there_is_a_workflow_for_changes_one_for_each_night_and_one_for_releases() -> None:
    assert [file.stem for file in WORKFLOWS] == ["nightly", "release", "test"]


@pytest.mark.long
def test_actionlint_finds_nothing() -> None:
    """Long, because it is built on first use."""
    done = actionlint.run(*map(str, WORKFLOWS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_actionlint_would_find_a_context_that_is_not_there(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    whole = text(".github/workflows/release.yml")
    broken.write_text(whole.replace("steps.build.outputs", "steps.bild.outputs"), encoding="utf-8")
    done = actionlint.run(str(broken))
    assert done.returncode == 1
    assert "bild" in done.stdout


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_of_others_are_named_by_a_commit_and_say_which_version_it_is(file: Path) -> None:
    used = re.findall(r"^\s*(?:- )?uses: (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    for action in used:
        if action.startswith("./"):
            assert (ROOT / action).exists()
        else:
            assert PINNED.fullmatch(action), action


def test_an_action_has_one_commit_wherever_it_is_used() -> None:
    used = {
        line for file in WORKFLOWS for line in re.findall(r"uses: (\w\S+)@(\S+)", text_of(file))
    }
    assert len({action for action, _ in used}) == len(used)


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_may_read_and_a_job_gets_more_only_with_its_reason(file: Path) -> None:
    assert load(file)["permissions"] == {"contents": "read"}
    for line in re.findall(r"^.*: write\b.*$", text_of(file), re.MULTILINE):
        assert re.search(r": write # \w", line), line


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_every_job_ends_some_time_and_keeps_no_credentials_beside_the_checkout(file: Path) -> None:
    for name, job in jobs(file).items():
        if "uses" in job:
            continue
        assert job["timeout-minutes"], name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_command_has_no_expression_in_it_because_what_others_write_would_be_run(
    file: Path,
) -> None:
    assert not [command for command in commands(file) if "${{" in command]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_command_parses_and_names_targets_and_files_that_exist(file: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text("Makefile"), re.MULTILINE))
    for command in commands(file):
        parsed = subprocess.run(
            ["bash", "-n"], input=command, text=True, capture_output=True, check=False
        )
        assert parsed.returncode == 0, parsed.stderr
        for target in re.findall(r"^make ([a-z0-9-]+)", command, re.MULTILINE):
            assert target in targets, target


def test_the_tests_of_the_hosting_service_are_those_of_ci() -> None:
    (exec_line,) = re.findall(r"^exec make (.+)$", text(".ci/run"), re.MULTILINE)
    (job,) = jobs(ROOT / ".github/workflows/test.yml").values()
    assert job["strategy"]["matrix"]["target"] == exec_line.split()


def test_the_image_of_a_release_is_built_for_the_machines_that_the_locks_are_for() -> None:
    steps = jobs(ROOT / ".github/workflows/release.yml")["image"]["steps"]
    (build,) = (step for step in steps if "docker/build-push-action" in step.get("uses", ""))
    assert build["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert build["with"]["sbom"] is True
    given = dict(line.split("=", 1) for line in build["with"]["build-args"].splitlines())
    taken = set(re.findall(r"^ARG (\w+)=", text("Dockerfile"), re.MULTILINE))
    assert set(given) == taken


def test_dependabot_looks_where_there_is_something_to_update() -> None:
    updates = load(ROOT / ".github" / "dependabot.yml")["updates"]
    assert {one["package-ecosystem"] for one in updates} == {
        *("pip", "docker", "github-actions", "gomod")
    }
    marks = {"pip": "pyproject.toml", "docker": "Dockerfile", "gomod": "go.mod"}
    for one in updates:
        if mark := marks.get(one["package-ecosystem"]):
            for folder in one.get("directories", [one.get("directory")]):
                assert list(ROOT.glob(f"{folder.strip('/')}/{mark}".lstrip("/"))), folder
    modules = {file.parent for file in ROOT.glob("[lt]*/**/go.mod")}
    (gomod,) = (one for one in updates if one["package-ecosystem"] == "gomod")
    looked = {place for glob in gomod["directories"] for place in ROOT.glob(glob.strip("/"))}
    assert looked >= modules


@pytest.mark.parametrize(
    "file", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda file: file.stem
)
def test_a_template_of_an_issue_asks_something_and_leads_to_files_that_exist(file: Path) -> None:
    content = load(file)
    if file.stem == "config":
        links = [link["url"] for link in content["contact_links"]]
        local = [link.partition("/blob/main/")[2] for link in links if "/blob/main/" in link]
        assert local
        assert [name for name in local if not (ROOT / name).exists()] == []
        return
    assert set(content) == {"name", "description", "labels", "body"}
    for field in content["body"]:
        assert field["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert field["attributes"]["label"]
    ids = [field["id"] for field in content["body"]]
    assert len(set(ids)) == len(ids)
    assert any(field.get("validations", {}).get("required") for field in content["body"])
