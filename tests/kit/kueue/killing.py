"""A controller that is killed again and again, at moments that its own writes count."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import audit

from tests.kit.live import harness

USER: Final = "system:serviceaccount:{}:{}".format(*harness.SERVICE_ACCOUNT)

# Loads the modules once; each process is a copy of it that goes on as a user starts the controller.
_NURSERY: Final = """
import os, sys
from lws_kueue import cli
for order in sys.stdin:
    if order == "start\\n":
        child = os.fork()
        if not child:
            os.dup2(2, 1)
            cli.main()
        print(child, flush=True)
    else:
        print(os.waitpid(child, 0)[1], flush=True)
"""
_LOOK_SECONDS: Final = 0.004


class Mortal:
    """A controller that is back a moment after it was killed: nothing is loaded anew."""

    def __init__(self, kubeconfig: Path, log: Path, *, arguments: Sequence[str] = ()) -> None:
        """``arguments`` come on top of those that tests usually need."""
        self._log = log
        run = harness.RUN[harness.RUN.index("run") :]
        with log.open("ab") as output:
            self._nursery = subprocess.Popen(
                [sys.executable, "-c", _NURSERY, *run, "--kubeconfig", str(kubeconfig), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self._pid: int | None = None

    def _order(self, order: str) -> int:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        print(order, file=self._nursery.stdin, flush=True)
        return int(self._nursery.stdout.readline())

    def start(self) -> None:
        """Let a new process work."""
        assert self._pid is None
        self._pid = self._order("start")

    def kill(self) -> None:
        """End it without a chance to finish anything (SIGKILL)."""
        assert self._pid is not None
        os.kill(self._pid, signal.SIGKILL)
        status = self._order("wait")
        self._pid = None
        assert status == signal.SIGKILL, f"it ended by itself with {status}:\n{self.tail()}"

    def close(self) -> None:
        """End everything."""
        if self._pid is not None:
            self.kill()
        with self._nursery:
            self._nursery.kill()

    def tail(self, lines: int = 60) -> str:
        """The end of the log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


@dataclass(frozen=True, slots=True)
class Moment:
    """When a process dies: after so many of its writes, and so many seconds on top.

    One that has nothing to write for a while is not waited for: idle processes die, too.
    """

    writes: int
    delay: float
    patience: float = 1.5


def moment(rng: random.Random) -> Moment:
    """Return a moment: mostly by writes, sometimes by the clock alone, be it while it starts."""
    if rng.random() < 0.2:
        return Moment(writes=0, delay=rng.uniform(0.0, 1.0))
    # A write is logged when it is answered; the delay decides how far the next ones are by then.
    return Moment(writes=rng.randint(1, 12), delay=rng.choice([0.0, rng.uniform(0.0, 0.03)]))


def await_moment(
    cluster: sandbox.Sandbox, when: Moment, *, since: int, user: str = USER
) -> tuple[int, int]:
    """Wait for the moment; returns how many writes were seen, and where the log ends.

    ``user`` is who writes them in that cluster.
    """
    deadline = time.monotonic() + when.patience
    written = 0
    while written < when.writes and time.monotonic() < deadline:
        found, since = audit.so_far(cluster, since=since)
        written += sum(r.is_write and r.user == user for r in found)
        if written < when.writes:
            time.sleep(_LOOK_SECONDS)
    time.sleep(when.delay)
    return written, since
