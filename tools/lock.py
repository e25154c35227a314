"""Writes what the image is made from, with hashes: `python -m tools.lock`.

`requirements.lock` has what the program needs to run, `requirements-build.lock` what builds it. The
versions are those of constraints.txt. pip resolves for each platform of the image and says which
file it would take; the hashes of these files are allowed, and no others. Markers of dependencies
are judged by the Python that runs this, so it has to be that of the image.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
RUN: Final = "requirements.lock"
BUILD: Final = "requirements-build.lock"

_PYTHON: Final = re.compile(r"^ARG PYTHON_IMAGE=python:(\d+)\.(\d+)\b", re.MULTILINE)
_MACHINES: Final = ("x86_64", "aarch64")
_PLATFORMS: Final = ("manylinux_2_17", "manylinux_2_28", "manylinux2014")


def wanted() -> dict[str, list[str]]:
    """Return what each lock is for: the requirements of the project, and of its build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {
        RUN: project["project"]["dependencies"],
        BUILD: project["build-system"]["requires"],
    }


def python() -> tuple[int, int]:
    """Return the version of Python that the image has."""
    found = _PYTHON.search((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1]), int(found[2])


def main() -> int:
    """Write both files; returns the exit status."""
    major, minor = python()
    if sys.version_info[:2] != (major, minor):
        print(f"run this with Python {major}.{minor}, as the image does", file=sys.stderr)
        return 1
    for name, requirements in wanted().items():
        locked: dict[str, set[str]] = {}
        for machine in _MACHINES:
            for pinned, digest in _resolved(requirements, machine):
                locked.setdefault(pinned, set()).add(digest)
        (ROOT / name).write_text(_rendered(locked), encoding="utf-8")
    return 0


def _resolved(requirements: list[str], machine: str) -> list[tuple[str, str]]:
    """Return what pip would install on a machine, as ``name==version`` and a hash."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--dry-run", "--ignore-installed", "--report", "-", "--target", "nowhere"]
    command += ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt")]
    command += [f"--platform={platform}_{machine}" for platform in _PLATFORMS]
    done = subprocess.run([*command, *requirements], stdout=subprocess.PIPE, text=True, check=True)
    return [_pinned(each) for each in json.loads(done.stdout)["install"]]


def _pinned(found: dict[str, Any]) -> tuple[str, str]:
    meta, archive = found["metadata"], found["download_info"]["archive_info"]
    return f"{meta['name']}=={meta['version']}", archive["hashes"]["sha256"]


def _rendered(locked: dict[str, set[str]]) -> str:
    lines = ["# What the image is made from: `make lock` writes it anew from constraints.txt."]
    for pinned in sorted(locked, key=str.lower):
        hashes = [f"    --hash=sha256:{digest}" for digest in sorted(locked[pinned])]
        lines.append(" \\\n".join([pinned, *hashes]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
