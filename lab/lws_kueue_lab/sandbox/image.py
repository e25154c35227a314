"""The image of the `container` back end: nothing but the static programs of the sandbox."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import docker
import docker.errors

from lws_kueue_lab.sandbox import binaries, progress

_REPOSITORY = "lws-kueue-sandbox"
# kubectl is for people; the rest is what containers run.
_LEFT_OUT = frozenset({"kubectl"})


def ensure() -> str:
    """The tag of the image; makes the image first if the engine does not have it."""
    programs = {
        name: path for name, path in binaries.ensure("Linux").items() if name not in _LEFT_OUT
    }
    tag = f"{_REPOSITORY}:{_key(programs)}"
    with contextlib.closing(docker.from_env()) as client:
        try:
            client.images.get(tag)
        except docker.errors.ImageNotFound:
            _make(client, tag, programs)
    return tag


def _key(programs: dict[str, Path]) -> str:
    """Derived from the cache keys of the programs, which are the names of their directories."""
    text = "\n".join(sorted(path.parent.name for path in programs.values()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _make(client: docker.DockerClient, tag: str, programs: dict[str, Path]) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="lws-kueue-image-") as context,
        progress.Progress(f"making the image {tag}", hint="once"),
    ):
        for name, path in programs.items():
            _link_or_copy(path, Path(context) / name)
        recipe = ["FROM scratch", *(f"COPY {name} /{name}" for name in sorted(programs)), ""]
        (Path(context) / "Dockerfile").write_text("\n".join(recipe))
        client.images.build(path=context, tag=tag, rm=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # The temporary directory is often on another file system.
        shutil.copy2(source, target)
