"""Runs in a network namespace of its own: a mirror there, and the demo that reaches nothing else.

Its arguments are a file that names programs and manifests, a folder for the cache, and the file
into which it writes what the demo took (`Cost`).
"""

import dataclasses
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the demo took: seconds from its start to its end, and bytes that the mirror sent."""

    seconds: float
    sent: int
    requests: int

    def __str__(self) -> str:
        return (
            f"with an empty cache the demo took {self.seconds:.1f} s and "
            f"{self.sent / (1 << 20):.1f} MiB of a mirror on loopback, in {self.requests} requests"
        )


def main(description: Path, cache: Path, report: Path) -> int:
    """Run the demo, and write what it took; returns the status of the demo."""
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
    cost = Cost(seconds=seconds, sent=serving.sent, requests=len(serving.asked))
    report.write_text(json.dumps(dataclasses.asdict(cost)))
    return demo.returncode


def _raise_loopback() -> None:
    """Set the one interface of the namespace up, without `ip`, which may not be installed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14s", b"lo", _UP, b""))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
