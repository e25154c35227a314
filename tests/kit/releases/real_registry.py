"""Debian's docker-registry as a process of a test, and what puts repositories into it."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import requests
import yaml
from lws_kueue_lab.sandbox import ports

from tests.kit.releases.images import Repository, digest

PROGRAM = shutil.which("docker-registry")


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Its URL, while the context is open."""
    assert PROGRAM is not None
    (port,) = ports.free(1)
    configuration = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": True}, "level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "registry.yml").write_text(yaml.safe_dump(configuration))
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "serve", str(folder / "registry.yml")], stdout=log, stderr=log
        )
    try:
        _wait_until_it_listens(process, port, folder / "registry.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)


def push(url: str, repositories: Mapping[str, Repository]) -> None:
    """Put everything into a registry: blobs first, then manifests, those with a tag at the end."""
    with requests.Session() as session:
        session.trust_env = False
        for name, repository in repositories.items():
            base = f"{url}/v2/{name}"
            for content in repository.blobs.values():
                begun = session.post(f"{base}/blobs/uploads/")
                begun.raise_for_status()
                session.put(
                    begun.headers["Location"], params={"digest": digest(content)}, data=content
                ).raise_for_status()
            for reference, (media_type, content) in repository.manifests.items():
                session.put(
                    f"{base}/manifests/{reference}",
                    data=content,
                    headers={"Content-Type": media_type},
                ).raise_for_status()
