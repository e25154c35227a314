"""The demo where nothing but a mirror can be reached, and neither Go nor Docker is there.

What it took is said in the summary. On a machine that does nothing else (`LWS_KUEUE_SECONDS=1`) the
seconds are held against what is promised.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries, kueue_manager

from e2e.sandbox import in_a_namespace

ROOT = Path(__file__).parents[2]
ALONE = "LWS_KUEUE_SECONDS"
MOST_SECONDS = 90
# The programs are far more than this, so less would mean that they came from elsewhere.
LEAST_BYTES = 50 << 20


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
    namespaces: None,
    backend: sandbox.Backend,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
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
    report = tmp_path / "cost.json"
    ran = subprocess.run(
        isolated(
            *(sys.executable, "-m", "e2e.sandbox.in_a_namespace"),
            *(str(description), str(tmp_path / "cache"), str(report)),
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = ran.stdout + ran.stderr
    print(said)
    assert ran.returncode == 0
    cost = in_a_namespace.Cost(**json.loads(report.read_text()))
    record_property("note", str(cost))
    assert "Admission is decided by: Kueue manager started by the sandbox" in said
    assert "4 of 4 groups run." in said
    for name in ("kubernetes", "etcd", "kwok", "kueue"):
        assert f"[sandbox] {name} v" in said
    assert "to be built" not in said
    assert cost.sent > LEAST_BYTES
    assert ALONE not in os.environ or cost.seconds < MOST_SECONDS
