"""What a person reads is true of the tree: links, folders, targets, versions."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import lws_kueue
from tools import lock

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def tracked() -> list[Path]:
    """The files of the repository that are under version control."""
    done = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("this is not a git checkout")
    return [Path(line) for line in done.stdout.splitlines() if (ROOT / line).exists()]


def documents() -> list[Path]:
    places = ("*.md", "lab/*.md", "docs/**/*.md", "deploy/chart/*.md")
    return sorted(document for place in places for document in ROOT.glob(place))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchor(heading: str) -> str:
    """The anchor of a heading, as the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return set(map(anchor, re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.M)))


@pytest.mark.parametrize("document", documents(), ids=lambda d: d.relative_to(ROOT).as_posix())
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def test_the_contents_of_a_document_are_its_headings() -> None:
    told = [d for d in documents() if "\n## Contents\n" in d.read_text(encoding="utf-8")]
    assert "compatibility.md" in {document.name for document in told}
    for document in told:
        _, _, content = document.read_text(encoding="utf-8").partition("\n## Contents\n")
        found = re.findall(r"^##(#?) (.+)$", content, re.MULTILINE)
        wanted = [f"{'  ' * len(deeper)}- [{name}](#{anchor(name)})" for deeper, name in found]
        assert re.findall(r"^ *- \[.+\]\(#.+\)$", content, re.MULTILINE) == wanted
        assert len({anchor(name) for _, name in found}) == len(found)


def test_contributing_has_one_line_for_each_folder() -> None:
    table = text("CONTRIBUTING.md")
    listed = re.findall(r"^\| `([^`]+)/` \|", table, re.MULTILINE)
    files = tracked()
    top = {f.parts[0] for f in files if len(f.parts) > 1}
    package = {f"lws_kueue/{f.parts[1]}" for f in files if f.match("lws_kueue/*/*")}
    package = {folder for folder in package if (ROOT / folder).is_dir()}
    assert set(listed) >= top - {"lws_kueue"} | package
    assert len(listed) == len(set(listed))
    assert [folder for folder in listed if not (ROOT / folder).is_dir()] == []


def test_both_folders_of_tests_stand_on_the_kit_and_do_not_know_each_other() -> None:
    known = re.compile(r"^\s*(?:from|import) ((?:tests|e2e)\b[\w.]*(?: import kit\b)?)", re.M)
    for file in tracked():
        if file.suffix != ".py" or file.parts[0] not in {"tests", "e2e"}:
            continue
        own = "tests.kit" if file.parts[:2] == ("tests", "kit") else file.parts[0]
        for module in known.findall(text(str(file))):
            allowed = re.match(rf"(?:tests\.kit|{re.escape(own)})\b|tests import kit", module)
            assert allowed, f"{file}: {module}"


def test_the_judge_of_quota_has_nothing_of_the_product() -> None:
    imported = re.findall(r"^\s*(?:from|import) (\S+)", text("tests/kit/judge/history.py"), re.M)
    assert imported
    assert not [module for module in imported if module.startswith(("lws_kueue", "tests"))]


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text("Makefile"), re.MULTILINE))
    assert {"demo", "bench", "test", "lint", "crds", "sandbox", "e2e-kind"} <= targets
    for document in documents():
        content = document.read_text(encoding="utf-8")
        named = {
            word
            for call in re.findall(r"`make ([a-z0-9 -]+)[^`]*`|^make ([a-z0-9-]+)", content, re.M)
            for word in " ".join(call).split()
        }
        assert named <= targets, document


def test_ci_runs_lint_and_all_tests() -> None:
    assert re.search(r"^exec make lint test test-long$", text(".ci/run"), re.MULTILINE)
    # What one of the two leaves out is what the other one runs.
    chosen = re.findall(r"pytest (e2e|tests) -m (.*?) -(?:n|-hypothesis)", text("Makefile"))
    assert chosen == [
        *(("tests", "'not long'"), ("e2e", "'not long'")),
        *(("tests", "'long or hypothesis'"), ("e2e", "long")),
    ]


def test_constraints_pin_every_dependency_to_a_version_that_the_project_allows() -> None:
    wanted: list[str] = []
    for file in ("pyproject.toml", "lab/pyproject.toml"):
        project = tomllib.loads(text(file))["project"]
        wanted += project["dependencies"]
        wanted += [one for extra in project["optional-dependencies"].values() for one in extra]
    lines = [line for line in text("constraints.txt").splitlines() if not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    versions = {re.sub(r"[-_.]+", "-", name).lower(): pinned[name] for name in pinned}
    for one in map(Requirement, wanted):
        if one.name in ("lws-kueue", "lws-kueue-lab"):
            continue  # They are made of this very tree.
        assert versions[re.sub(r"[-_.]+", "-", one.name).lower()] in one.specifier, one
    assert lines == sorted(lines, key=str.lower)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", [lock.RUN, lock.BUILD])
def test_the_image_is_made_from_what_the_project_asks_for_in_the_pinned_versions(name: str) -> None:
    constraints = text("constraints.txt").splitlines()
    pinned = {canonical(line.split("==")[0]): line.split("==")[1] for line in constraints[1:]}
    entries = re.findall(
        r"^(\S+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", text(name), re.M
    )
    # Each line belongs to an entry, so nothing is installed without a hash.
    assert sum(1 + hashes.count("--hash") for *_, hashes in entries) == len(
        [line for line in text(name).splitlines() if not line.startswith("#")]
    )
    locked = {canonical(package): version for package, version, _ in entries}
    for requirement in map(Requirement, lock.wanted()[name]):
        assert locked[canonical(requirement.name)] in requirement.specifier
    for package, version in locked.items():
        assert pinned.get(package, version) == version, f"{package}: `make lock`"


def test_no_tool_of_the_tests_is_in_the_image() -> None:
    for tool in ("pytest", "mypy", "hatchling", "ruff"):
        assert f"\n{tool}==" not in text(lock.RUN)


def test_the_image_is_built_from_locked_files_alone_and_installs_nothing_where_it_runs() -> None:
    commands = re.findall(r"install --no-cache-dir[^&]*", text("Dockerfile").replace("\\\n", " "))
    assert len(commands) == 3
    for command in commands:
        assert "--require-hashes" in command or "--no-index" in command
    final = text("Dockerfile").rpartition("FROM ")[2]
    assert "pip uninstall" in final
    assert lock.python() == tuple(
        map(int, tomllib.loads(text("pyproject.toml"))["project"]["requires-python"][2:].split("."))
    )


def test_the_changelog_has_an_entry_for_this_version() -> None:
    assert f"## {lws_kueue.__version__}" in text("CHANGELOG.md")


def test_the_licence_is_apache_2() -> None:
    assert "Apache License" in text("LICENSE").splitlines()[1]
    assert tomllib.loads(text("pyproject.toml"))["project"]["license"] == "Apache-2.0"
