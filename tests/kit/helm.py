"""Helm, as a person uses it: the chart rendered, packed and installed."""

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "deploy" / "chart"
RELEASE: Final = "lws-kueue"
NAMESPACE: Final = "lws-kueue-system"

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def program() -> Path:
    """Return where it is; a test that needs it is skipped where it cannot be built."""
    try:
        return binaries.helm()
    except (sandbox.NoBuilderError, sandbox.ToolchainError) as error:
        pytest.skip(f"helm is not there and cannot be built: {str(error).splitlines()[-1]}")


def run(
    *arguments: str, home: Path, kubeconfig: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run it, or skip the test as `program` does.

    What it keeps of its own goes below ``home``, and without ``kubeconfig`` it reaches no cluster.
    """
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HELM_")},
        **{f"HELM_{kind}_HOME": str(home / kind) for kind in ("CACHE", "CONFIG", "DATA")},
        "KUBECONFIG": str(kubeconfig or "/dev/null"),
    }
    return subprocess.run(
        [str(program()), *arguments], capture_output=True, text=True, check=False, env=environment
    )


def render(*arguments: str, home: Path, chart: Path = CHART) -> list[dict[str, Any]]:
    """Return what the chart makes, whatever cluster there is."""
    done = template(*arguments, home=home, chart=chart)
    assert done.returncode == 0, done.stderr
    return [obj for obj in yaml.load_all(done.stdout, Loader=_LOADER) if obj]


def refused(*arguments: str, home: Path) -> str:
    """Return how the chart says what is wrong with the values."""
    done = template(*arguments, home=home)
    assert done.returncode != 0, done.stdout
    return done.stderr


def template(
    *arguments: str, home: Path, chart: Path = CHART, namespace: str = NAMESPACE
) -> "subprocess.CompletedProcess[str]":
    """Render the chart, or fail to."""
    return run("template", RELEASE, str(chart), "--namespace", namespace, *arguments, home=home)
