"""Runs in a network namespace of its own: a mirror there, and the demo that reaches nothing else.

Its arguments are a file that names programs and manifests, and a folder for the cache.
"""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from tests.kit.releases import mirror, published

_SET_FLAGS = 0x8914
_UP = 0x1


def main(description: Path, cache: Path) -> int:
    """Run the demo, and print what the mirror sent; returns the status of the demo."""
    _raise_loopback()
    named = json.loads(description.read_text())
    programs = {name: Path(path).read_bytes() for name, path in named["programs"].items()}
    manifests = Path(named["manifests"]).read_bytes()
    nowhere = cache.with_name("no-programs")
    nowhere.mkdir()
    with mirror.serving(published.everything(programs, manifests=manifests)) as serving:
        started = time.monotonic()
        demo = subprocess.run(
            [sys.executable, "-c", "from lws_kueue.cli import main; main()", *named["arguments"]],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("LWS_KUEUE_")},
                "LWS_KUEUE_CACHE": str(cache),
                "LWS_KUEUE_MIRROR": serving.url,
                "PATH": str(nowhere),
            },
            check=False,
        )
        seconds = time.monotonic() - started
        sent = sum(
            len(blob)
            for repository in serving.repositories.values()
            for digest, blob in repository.blobs.items()
            if serving.paths(digest)
        )
    print(f"the mirror sent {sent / (1 << 20):.0f} MiB; all took {seconds:.0f} s")
    return demo.returncode


def _raise_loopback() -> None:
    """Set the one interface of the namespace up, without `ip`, which may not be installed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14s", b"lo", _UP, b""))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
