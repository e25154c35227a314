"""The owner's side of the supervisor: start and stop components, notice those that died."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lws_kueue_lab.sandbox import cluster, intact, supervisor
from lws_kueue_lab.sandbox.releases.errors import IntegrityError

_LOG_TAIL_LINES = 20
# Removing containers may take a while; killing processes takes a moment.
_END_TIMEOUT_SECONDS = 90


class Supervision:
    """A running supervisor; closing it, or the death of this process, ends all it started."""

    def __init__(self) -> None:
        # -I and -S keep start-up short and independent of the user's environment.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", supervisor.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()
        self._programs: dict[str, Path] = {}
        self.directory = Path(self._read()["directory"])
        self.logs = self.directory / "logs"
        self.logs.mkdir()

    def start(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start a component; its output is appended to its log.

        `environment` is all that it gets besides PATH: sandboxes must not depend on the user's.
        Raises IntegrityError if it cannot be started because its program is damaged.
        """
        self._programs[name] = program = Path(command[0])
        try:
            self._ask(
                do="start",
                name=name,
                command=list(command),
                environment={"PATH": os.environ.get("PATH", os.defpath)} | dict(environment or {}),
                log=str(self.log(name)),
            )
        except cluster.SandboxError as error:
            if damage := intact.damage(program):
                raise IntegrityError(damage) from error
            raise

    def stop(self, name: str) -> None:
        """Kill a component and wait for its end; unknown names are ignored."""
        self._ask(do="stop", name=name)

    def at_end(self, command: Sequence[str]) -> None:
        """Have a command run when everything ends, with the environment of this process."""
        self._ask(do="at-end", command=list(command), environment=dict(os.environ))

    def running(self) -> dict[str, int]:
        """The process ids of the components that run."""
        answer = self._ask(do="status")
        return {name: int(pid) for name, pid in answer["running"].items()}

    def check(self) -> None:
        """Raise `ComponentDiedError` for a component that ended and that nobody stopped."""
        for name, status in self._ask(do="status")["ended"].items():
            raise cluster.ComponentDiedError(
                name=name,
                status=status,
                log_tail=self.log_tail(name),
                why=intact.damage(self._programs[name]),
            )

    def log(self, name: str) -> Path:
        """Where the output of a component goes."""
        return self.logs / f"{name}.log"

    def log_tail(self, name: str) -> str:
        """The last lines of a component's log."""
        try:
            lines = self.log(name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def close(self) -> None:
        """End everything and wait until it is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_END_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            # Its children die with it.
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        # Already done, unless somebody killed the supervisor.
        shutil.rmtree(self.directory, ignore_errors=True)

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            except (BrokenPipeError, ValueError) as error:
                raise cluster.SandboxError("the sandbox is closed") from error
            answer = self._read()
        if "error" in answer:
            raise cluster.SandboxError(answer["error"])
        return answer

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise cluster.SandboxError("the supervisor of the sandbox ended unexpectedly")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer
