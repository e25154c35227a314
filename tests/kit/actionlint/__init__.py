"""actionlint, which reads workflows of the hosting service as that service does.

It is built from a pinned Go module by `go tool`, which keeps the program in Go's own cache.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

_MODULE: Final = Path(__file__).parent


def run(*files: str) -> "subprocess.CompletedProcess[str]":
    """Run it on workflows; a test that needs it is skipped where it cannot be had.

    Neither shellcheck nor pyflakes is asked about commands: what is installed here would decide.
    """
    if shutil.which("go") is None:
        pytest.skip("actionlint cannot be built: there is no Go here")
    there = _go_tool("-version")
    if there.returncode != 0:
        pytest.skip(f"actionlint cannot be built: {there.stderr.strip().splitlines()[-1]}")
    return _go_tool("-no-color", "-shellcheck=", "-pyflakes=", *files)


def _go_tool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["go", "tool", "actionlint", *arguments],
        cwd=_MODULE,
        env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
