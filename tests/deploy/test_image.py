"""The image, built where a Docker engine answers: what is in it, who it runs as, what it can do.

The base is that of the Dockerfile. On a machine that reaches no image registry,
`LWS_KUEUE_PYTHON_IMAGE` names one that is there, and `LWS_KUEUE_BUILD_NETWORK` the network of the
build.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from lws_kueue_lab.sandbox import engine

import lws_kueue
from lws_kueue.install import manifests
from tools import lock

# It takes a minute, and what it needs is often not there.
pytestmark = pytest.mark.long

ROOT: Final = Path(__file__).resolve().parents[2]
COMMIT: Final = "0123456789abcdef"
# As the Deployment runs it.
CONFINED: Final = (
    *("--read-only", "--tmpfs=/tmp", "--network=none"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
)


def docker(*arguments: str) -> str:
    """Run it and return what it printed; its errors fail the test."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The image of this tree."""
    if shutil.which("docker") is None or not engine.answers():
        pytest.skip("no Docker engine answers, so the image cannot be built")
    tag = f"lws-kueue-test:{os.getpid()}"
    arguments = [f"--build-arg=GIT_COMMIT={COMMIT}", "--tag", tag]
    if base := os.environ.get("LWS_KUEUE_PYTHON_IMAGE"):
        arguments.append(f"--build-arg=PYTHON_IMAGE={base}")
    if network := os.environ.get("LWS_KUEUE_BUILD_NETWORK"):
        arguments.append(f"--network={network}")
    docker("build", *arguments, str(ROOT))
    yield tag
    docker("image", "rm", "--force", tag)


def inside(image: str, program: str, *arguments: str) -> str:
    return docker("run", "--rm", *CONFINED, f"--entrypoint={program}", image, *arguments)


def canonical(distributions: Iterable[str]) -> set[str]:
    return {one.lower().replace("_", "-") for one in distributions}


def config(image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image))
    content: dict[str, Any] = found["Config"]
    return content


def test_it_runs_the_controller_as_nobody_in_particular(image: str) -> None:
    found = config(image)
    assert found["User"] == "65532:65532"
    assert (found["Entrypoint"], found["Cmd"]) == (["lws-kueue"], ["run"])


def test_the_program_starts_on_a_read_only_file_system_and_says_which_build_it_is(
    image: str,
) -> None:
    said = docker("run", "--rm", *CONFINED, image, "--version")
    assert lws_kueue.__version__ in said
    assert COMMIT[:7] in said


def test_it_has_what_the_lock_names_in_these_versions_and_no_other_distribution(
    image: str,
) -> None:
    told = (
        "import importlib.metadata as m;"
        "print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    )
    listed = canonical(inside(image, "python", "-c", told).split())
    lines = (ROOT / lock.RUN).read_text("utf-8").splitlines()
    locked = canonical(line.split()[0] for line in lines if "==" in line)
    assert listed == locked | {f"lws-kueue=={lws_kueue.__version__}"}


@pytest.mark.parametrize("module", ["pip", "ensurepip", "setuptools", "pytest", "lws_kueue_lab"])
def test_nothing_that_installs_or_tests_can_be_imported(image: str, module: str) -> None:
    found = "import importlib.util as u, sys; print(u.find_spec(sys.argv[1]))"
    for python in ("/opt/lws-kueue/bin/python", "/usr/local/bin/python"):
        assert inside(image, python, "-c", found, module).strip() == "None", python


def test_it_can_tell_what_it_would_install(image: str) -> None:
    count = "from lws_kueue.install import manifests as m; print(len(m.api_objects(kueue=True)))"
    assert int(inside(image, "python", "-c", count)) == len(manifests.api_objects(kueue=True))
