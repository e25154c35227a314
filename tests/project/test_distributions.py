"""Two distributions, the product and the laboratory beside it: each whole, and no more."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import lws_kueue
from lws_kueue.install import manifests

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"lws-kueue": ROOT, "lws-kueue-lab": ROOT / "lab"}
PACKAGES = {"lws-kueue": ROOT / "lws_kueue", "lws-kueue-lab": ROOT / "lab" / "lws_kueue_lab"}

# Where a package is imported by another name than that of its distribution.
IMPORTED_AS = {
    "pyyaml": {"yaml"},
    "prometheus-client": {"prometheus_client"},
    "python-json-logger": {"pythonjsonlogger"},
    # The types of its errors.
    "pydantic": {"pydantic", "pydantic_core"},
    "lws-kueue": {"lws_kueue"},
}


def project(name: str) -> dict[str, Any]:
    text = (FOLDERS[name] / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found


def run(*command: str, cwd: Path, path: list[Path] | None = None, status: int = 0) -> str:
    """Run Python; with a path it sees the standard library and that, and nothing else."""
    isolated = ["-S"] if path is not None else []
    joined = os.pathsep.join(map(str, path or ()))
    done = subprocess.run(
        [sys.executable, *isolated, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": joined, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both, built from the tree as it is, without a network."""
    directory = tmp_path_factory.mktemp("wheels")
    for folder in FOLDERS.values():
        run("-m", "hatchling", "build", "-t", "wheel", "-d", str(directory), cwd=folder)
    built = {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in directory.iterdir()}
    assert set(built) == set(FOLDERS)
    return built


def content(wheel: Path) -> set[str]:
    """What is in a wheel, without the description of itself."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def files(folder: Path, at: str) -> set[str]:
    """What has to be at a place in a wheel to have all of a folder, links followed."""
    found = (
        Path(directory, name)
        for directory, _, all_names in os.walk(folder, followlinks=True)
        for name in all_names
    )
    return {
        f"{at}/{file.relative_to(folder).as_posix()}"
        for file in found
        if "__pycache__" not in file.parts
    }


def test_the_product_has_its_modules_and_what_it_installs_and_nothing_of_the_laboratory(
    wheels: dict[str, Path],
) -> None:
    packed = "lws_kueue/_manifests"
    installed = {"api", "kueue", "default-priority-class", *manifests.GANG_SCHEDULERS}
    assert content(wheels["lws-kueue"]) == files(PACKAGES["lws-kueue"], "lws_kueue").union(
        files(ROOT / "crds", f"{packed}/crds"),
        *(files(ROOT / "deploy" / one, f"{packed}/deploy/{one}") for one in installed),
    )
    for name in content(wheels["lws-kueue"]):
        assert not re.search(r"lab\b|sandbox|standin|demo|toolchain|example|go\.mod", name), name


def test_what_the_image_is_built_from_gives_the_wheel_of_the_product_alone(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    context = tmp_path / "context"
    context.mkdir()
    for name in (line.removeprefix("!") for line in ignore if line.startswith("!")):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, context / name)
    run("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=context)
    (wheel,) = tmp_path.glob("*.whl")
    assert content(wheel) == content(wheels["lws-kueue"])
    # Without an extra, so without the laboratory.
    assert "--no-index /wheels/*.whl\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_laboratory_has_its_modules_the_toolchain_and_the_examples(
    wheels: dict[str, Path],
) -> None:
    found = content(wheels["lws-kueue-lab"])
    assert found == files(PACKAGES["lws-kueue-lab"], "lws_kueue_lab")
    for part in (
        *("bench/command.py", "demo/command.py", "sandbox/cli.py", "kueue_standin/__main__.py"),
        *("sandbox/toolchain/kubernetes/go.mod", "_manifests/manager/cluster-role.yaml"),
        *("worker_clusters.py", "_manifests/multikueue/worker/role.yaml"),
        *(f"_manifests/examples/{file.name}" for file in (ROOT / "examples").iterdir()),
    ):
        assert f"lws_kueue_lab/{part}" in found


def description(wheel: Path) -> str:
    """What the page of a package index shows."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return archive.read(name).decode("utf-8")


@pytest.mark.parametrize("name", FOLDERS)
def test_links_of_the_page_of_a_distribution_lead_to_files_of_its_version(
    wheels: dict[str, Path], name: str
) -> None:
    shown = description(wheels[name])
    links = re.findall(r"\]\(([^)\s]+)\)", shown)
    own = f"{project('lws-kueue')['urls']['Repository']}/blob/v{lws_kueue.__version__}/"
    leading = [link.removeprefix(own).partition("#")[0] for link in links if link.startswith(own)]
    assert leading
    assert [path for path in leading if not (ROOT / path).exists()] == []
    # As many as there are in the document, and none that only leads somewhere beside it.
    document = (FOLDERS[name] / "README.md").read_text(encoding="utf-8")
    beside = re.findall(r"\]\((?![a-z]+:)[^)\s]+\)", document)
    assert len(leading) == len(beside)
    assert [link for link in links if not link.startswith("https://")] == []


def test_an_index_takes_what_the_wheels_say_of_themselves(wheels: dict[str, Path]) -> None:
    run("-m", "twine", "check", "--strict", *map(str, wheels.values()), cwd=ROOT)


@pytest.mark.long
@pytest.mark.parametrize("name", FOLDERS)
def test_the_sources_of_a_distribution_are_taken_by_an_index_and_give_the_same_wheel(
    wheels: dict[str, Path], name: str, tmp_path: Path
) -> None:
    build = ("-m", "hatchling", "build", "-d", str(tmp_path))
    run(*build, "-t", "sdist", cwd=FOLDERS[name])
    (sources,) = tmp_path.glob("*.tar.gz")
    run("-m", "twine", "check", "--strict", str(sources), cwd=ROOT)
    with tarfile.open(sources) as archive:
        archive.extractall(tmp_path, filter="data")
    run(*build, "-t", "wheel", cwd=tmp_path / sources.name.removesuffix(".tar.gz"))
    (wheel,) = tmp_path.glob("*.whl")
    assert content(wheel) == content(wheels[name])


@pytest.mark.parametrize("name", FOLDERS)
def test_a_distribution_says_that_it_has_types(wheels: dict[str, Path], name: str) -> None:
    assert f"{PACKAGES[name].name}/py.typed" in content(wheels[name])


def required(requirements: list[str] | None, extras: set[str]) -> set[str]:
    """The names of installed distributions that these requirements bring, with all of theirs."""
    found: set[str] = set()
    for one in map(Requirement, requirements or ()):
        if one.marker and not any(one.marker.evaluate({"extra": e}) for e in extras | {""}):
            continue
        found |= {one.name}
        if not one.name.startswith("lws-kueue"):
            found |= required(metadata.distribution(one.name).requires, one.extras)
    return found


def environment(directory: Path, *wheels: Path) -> list[Path]:
    """Install wheels into a directory of their own, with what they require and nothing else."""
    target, brought = directory / "installed", directory / "brought"
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    options = ("--no-index", "--no-deps", "--no-compile", "--target", str(target))
    run(*pip, *options, *map(str, wheels), cwd=directory)
    brought.mkdir()
    for name in {
        name
        for installed in metadata.distributions(path=[str(target)])
        for name in required(installed.requires, set())
        if not name.startswith("lws-kueue")
    }:
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            link = brought / top
            if not link.is_symlink():
                link.symlink_to(str(distribution.locate_file(top)))
    return [target, brought]


@pytest.fixture(scope="module")
def product(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return environment(tmp_path_factory.mktemp("product"), wheels["lws-kueue"])


@pytest.fixture(scope="module")
def both(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return environment(tmp_path_factory.mktemp("both"), *wheels.values())


IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(package.__file__)
"""


def test_every_module_of_the_product_finds_all_that_it_imports(
    product: list[Path], tmp_path: Path
) -> None:
    found = run("-c", IMPORT_ALL, "lws_kueue", cwd=tmp_path, path=product)
    assert Path(found.strip()).is_relative_to(product[0])


def test_an_installed_product_installs_what_the_checkout_installs(
    product: list[Path], tmp_path: Path
) -> None:
    everything: list[manifests.Choice] = [
        {"kueue": True, "default_priority_class": True, "gang_scheduling": name}
        for name in manifests.GANG_SCHEDULERS
    ]
    choices: list[manifests.Choice] = [{}, *everything]
    code = (
        "import json; from lws_kueue.install import manifests; "
        f"print(json.dumps([manifests.api_objects(**choice) for choice in {choices!r}]))"
    )
    found = json.loads(run("-c", code, cwd=tmp_path, path=product))
    assert found == [manifests.api_objects(**choice) for choice in choices]


@pytest.mark.parametrize("command", ["bench", "demo", "sandbox"])
def test_without_the_laboratory_one_line_says_how_to_get_it(
    product: list[Path], tmp_path: Path, command: str
) -> None:
    said = run("-m", "lws_kueue.cli", command, cwd=tmp_path, path=product, status=1)
    assert (
        said == f"Error: {command} belongs to the laboratory: in a checkout, pip install . ./lab\n"
    )
    assert f"\n  {command} " not in run("-m", "lws_kueue.cli", "--help", cwd=tmp_path, path=product)


def test_the_laboratory_joins_the_commands_of_the_product(both: list[Path], tmp_path: Path) -> None:
    said = run("-m", "lws_kueue.cli", "--help", cwd=tmp_path, path=both)
    for command in ("bench", "demo", "sandbox"):
        assert f"\n  {command} " in said
        help_text = run("-m", "lws_kueue.cli", command, "--help", cwd=tmp_path, path=both)
        assert help_text.startswith(f"Usage: python -m lws_kueue.cli {command}")


def test_an_installed_laboratory_finds_the_manifests(both: list[Path], tmp_path: Path) -> None:
    code = (
        "import json; from lws_kueue.install import manifests as own; "
        "from lws_kueue_lab import manifests; "
        "print(json.dumps([str(own.root()), len(own.api_objects()), str(manifests.EXAMPLES), "
        "len(manifests.example('queues.yaml')), [o['kind'] for o in manifests.manager_objects()]]))"
    )
    root, policies, examples, queues, kinds = json.loads(run("-c", code, cwd=tmp_path, path=both))
    assert Path(root).is_relative_to(both[0])
    assert Path(examples).is_relative_to(both[0])
    assert policies == len(manifests.api_objects())
    assert queues > 0
    assert kinds[0] == "Namespace"
    assert "ServiceAccount" in kinds
    assert "Deployment" not in kinds


def test_the_laboratory_has_the_version_of_the_product() -> None:
    version = lws_kueue.__version__
    assert project("lws-kueue-lab")["version"] == version
    assert f"lws-kueue=={version}" in project("lws-kueue-lab")["dependencies"]
    assert project("lws-kueue")["optional-dependencies"]["lab"] == [f"lws-kueue-lab=={version}"]


def imports(package: Path) -> Iterator[str]:
    """The packages that a package's modules import, wherever in a module that is."""
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0]


@pytest.mark.parametrize("name", FOLDERS)
def test_what_is_imported_is_required_and_what_is_required_is_imported(name: str) -> None:
    described = project(name)
    extras = described["optional-dependencies"].items()
    # Tools of developers, and the other distribution, are nothing that the package imports.
    brought = [one for extra, of in extras if extra not in ("test", "lint", "lab") for one in of]
    wanted = {
        one.name: IMPORTED_AS.get(one.name, {one.name})
        for one in map(Requirement, [*described["dependencies"], *brought])
    }
    found = set(imports(PACKAGES[name])) - sys.stdlib_module_names - {PACKAGES[name].name}
    assert found <= set().union(*wanted.values())
    assert [one for one, modules in wanted.items() if not modules & found] == []


@pytest.mark.parametrize("name", FOLDERS)
def test_every_dependency_has_its_reason(name: str) -> None:
    text = (FOLDERS[name] / "pyproject.toml").read_text(encoding="utf-8")
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        assert re.fullmatch(r'  "[^"]+", +# \S.*', line), line
    assert len(block.splitlines()) == len(project(name)["dependencies"])


def test_the_contract_of_the_sandbox_and_the_stand_in_leaves_out_no_part_of_the_product() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    (contract,) = (one for one in linter["importlinter"]["contracts"] if "sandbox" in one["name"])
    parts = {
        f"lws_kueue.{entry.stem}"
        for entry in PACKAGES["lws-kueue"].iterdir()
        if entry.suffix == ".py" or (entry / "__init__.py").exists()
    }
    known = {"lws_kueue.__init__", "lws_kueue.api", "lws_kueue.simulator"}
    assert set(contract["forbidden_modules"]) == parts - known
