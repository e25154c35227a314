"""The process that owns every process and file of one sandbox, and outlives its owner briefly.

It is started by `supervision` as a script of its own, uses the standard library alone, and reads
requests, one JSON object a line, from its standard input. When that input ends, because its
owner closed it or died in whatever way, it kills all it started, removes the directory and ends.
A death signal would not do instead: the kernel sends it when the starting *thread* ends, and not
at all after a second fork. It is used in the other direction only, for the children of this
single-threaded process, should somebody kill the supervisor itself.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Above this, something in the directory is still being written by a process that is on its way
# out; then removal is tried again.
_REMOVAL_ATTEMPTS = 20
_LAST_ACT_SECONDS = 60
_PR_SET_PDEATHSIG = 1


class Supervisor:
    """The children of one sandbox by name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._last_acts: list[dict[str, Any]] = []
        # Loaded before any fork: between fork and exec as little as possible may happen.
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks; every answer tells which children run and which ended."""
        if request["do"] == "start":
            self._start(request)
        elif request["do"] == "stop":
            self._stop(request["name"])
        elif request["do"] == "at-end":
            self._last_acts.append(request)
        return {
            "running": {n: c.pid for n, c in self._children.items() if c.poll() is None},
            "ended": {n: c.poll() for n, c in self._children.items() if c.poll() is not None},
        }

    def _start(self, request: dict[str, Any]) -> None:
        with Path(request["log"]).open("ab") as log:
            self._children[request["name"]] = subprocess.Popen(
                request["command"],
                env=request["environment"],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._die_with_supervisor,
            )

    def _die_with_supervisor(self) -> None:
        if self._libc is not None:
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def _stop(self, name: str) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            child.kill()
            child.wait()

    def close(self) -> None:
        """Kill all children at once, since nothing of them is worth saving, and clean up."""
        for child in self._children.values():
            child.kill()
        for child in self._children.values():
            child.wait()
        for act in self._last_acts:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    act["command"],
                    env=act["environment"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=_LAST_ACT_SECONDS,
                    check=False,
                )
        for _ in range(_REMOVAL_ATTEMPTS):
            shutil.rmtree(self.directory, ignore_errors=True)
            if not self.directory.exists():
                return
            time.sleep(0.1)


def main() -> None:
    """Serve requests until the owner is gone."""
    # Ctrl-C reaches the whole foreground group; only the owner decides what it means.
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    directory = Path(tempfile.mkdtemp(prefix="lws-kueue-sandbox-"))
    supervisor = Supervisor(directory)
    try:
        _reply({"directory": str(directory)})
        for line in sys.stdin:
            try:
                _reply(supervisor.answer(json.loads(line)))
            except OSError as error:
                _reply({"error": str(error)})
    except BrokenPipeError:
        # The owner died between a request and its answer.
        return
    finally:
        supervisor.close()
        with contextlib.suppress(OSError):
            sys.stdout.close()


def _reply(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
