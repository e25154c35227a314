"""The files of a release, in one folder: `python -m tools.release --output dist`.

Wheels and sources of both distributions, the manifests of deploy/, the chart, and their checksums.
kubectl and Helm are taken from PATH. The manifests name the image that is given, by its digest; a
chart names its version. RELEASE.md says what comes before and after.
"""

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import lws_kueue

ROOT: Final = Path(__file__).resolve().parents[1]
CHECKSUMS: Final = "SHA256SUMS"

# What is applied at once: the folders of deploy/ that each file is rendered from.
MANIFESTS: Final[Mapping[str, str]] = {
    "manifests.yaml": "deploy",
    "kueue.yaml": "deploy/kueue",
    "volcano.yaml": "deploy/volcano",
    "default-priority-class.yaml": "deploy/default-priority-class",
    "prometheus.yaml": "deploy/prometheus",
}

_BY_DIGEST: Final = re.compile(r"[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}")
_IMAGE: Final = re.compile(r"^(\s*(?:- )?image: )(\S+)$", re.MULTILINE)


def problems(tag: str, *, changelog: str, version: str = lws_kueue.__version__) -> list[str]:
    """Return why a tag cannot be released as it is; nothing if it can.

    Args:
        tag: the name of the tag, for example ``v0.1.0``.
        changelog: the text of CHANGELOG.md.
        version: what the package says of itself; chart, image and laboratory have the same.
    """
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag}, and lws_kueue/__init__.py says {version}: tag v{version}")
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading `## {version} (YYYY-MM-DD)`: date it")
    return found


def with_image(manifest: str, image: str) -> str:
    """Return a manifest whose one container runs an image that is named by its digest.

    Raises ValueError if the image has no digest, or if there is not just one to be replaced.
    """
    if not _BY_DIGEST.fullmatch(image):
        raise ValueError(f"{image} is not named by its digest: NAME@sha256:...")
    replaced, count = _IMAGE.subn(rf"\g<1>{image}", manifest)
    if count != 1:
        raise ValueError(f"there are {count} images where one was expected")
    return replaced


def checksums(files: list[Path]) -> str:
    """Return what `sha256sum --check` reads, in the order of names."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files)
    ]
    return "".join(lines)


def build(output: Path, *, image: str | None) -> None:
    """Write all files of a release into an empty or new folder.

    Raises FileExistsError if there is something in it, ValueError as `with_image` does, and
    CalledProcessError if one of the programs fails.
    """
    output.mkdir(parents=True, exist_ok=True)
    if any(output.iterdir()):
        raise FileExistsError(f"{output} is not empty: what is in it would be released too")
    for folder in (ROOT, ROOT / "lab"):
        _run(sys.executable, "-m", "hatchling", "build", "-d", str(output), folder=folder)
    for name, folder_name in MANIFESTS.items():
        text = _run("kubectl", "kustomize", str(ROOT / folder_name))
        if image is not None and name == "manifests.yaml":
            text = with_image(text, image)
        (output / name).write_text(text, encoding="utf-8")
    _run("helm", "package", str(ROOT / "deploy" / "chart"), "--destination", str(output))
    files = list(output.iterdir())
    (output / CHECKSUMS).write_text(checksums(files), encoding="utf-8")


def _run(*command: str, folder: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Check a tag, or write the files; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", metavar="TAG", help="whether this tag can be released as it is")
    what.add_argument("--output", type=Path, metavar="FOLDER", help="where the files are written")
    parser.add_argument("--image", metavar="NAME@DIGEST", help="the image of manifests.yaml")
    given = parser.parse_args(arguments)
    if given.check is not None:
        found = problems(given.check, changelog=(ROOT / "CHANGELOG.md").read_text("utf-8"))
        for problem in found:
            print(problem, file=sys.stderr)
        return 1 if found else 0
    try:
        build(given.output.resolve(), image=given.image)
    except (FileExistsError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
