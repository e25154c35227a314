"""The demo where nothing but a mirror can be reached, and neither Go nor Docker is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries, kueue_manager

ROOT = Path(__file__).parents[2]


def isolated(*command: str) -> list[str]:
    """The command line that runs something in a network namespace of its own."""
    return ["unshare", "--net", *command]


@pytest.fixture
def namespaces() -> None:
    try:
        tried = subprocess.run(isolated("true"), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no network namespace: there is no `unshare`")
    if tried.returncode:
        pytest.skip(f"no network namespace: {tried.stderr.strip()}")


@pytest.mark.long
def test_with_an_empty_cache_and_a_mirror_alone_the_demo_shows_a_real_kueue(
    namespaces: None, backend: sandbox.Backend, tmp_path: Path
) -> None:
    if backend != "process":
        pytest.skip("the demo is one of processes")
    source = kueue_manager.from_environment()
    if source is None:
        pytest.skip(
            f"no real Kueue to put into the mirror: set {kueue_manager.BINARY_VARIABLE} "
            f"and {kueue_manager.MANIFESTS_VARIABLE}"
        )
    programs = {name: str(path) for name, path in binaries.ensure().items()}
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(
        "\n---\n".join(file.read_text() for file in sorted(source.manifests.glob("*.y*ml")))
    )
    description = tmp_path / "description.json"
    description.write_text(
        json.dumps(
            {
                "programs": programs | {"kueue": str(source.binary)},
                "manifests": str(manifests),
                "arguments": ["demo"],
            }
        )
    )
    ran = subprocess.run(
        isolated(
            sys.executable,
            *("-m", "e2e.sandbox.in_a_namespace", str(description), str(tmp_path / "cache")),
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said
    assert "Admission is decided by: Kueue manager started by the sandbox" in said
    assert "4 of 4 groups run." in said
    for name in ("kubernetes", "etcd", "kwok", "kueue"):
        assert f"[sandbox] {name} v" in said
    assert "to be built" not in said
