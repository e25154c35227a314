"""Demos as a person starts them: their output in a log, their end, and what they leave."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lws_kueue_lab.sandbox import binaries

from tests.kit import polling

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "lws_kueue.cli", "demo"]
PATIENCE = 180.0


@pytest.fixture(autouse=True)
def _warm() -> None:
    """Building the programs takes minutes, once, and is not the demo's time."""
    binaries.ensure()


class Demo:
    """A running demo and what it has said so far."""

    def __init__(self, *arguments: str, directory: Path, patience: float = PATIENCE) -> None:
        self.directory = directory
        self._patience = patience
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            # A place of its own for the sandbox's files, so that one sees whether they are gone.
            env=os.environ | {"TMPDIR": str(directory)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.output += line
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, text: str) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + self._patience
        with self._news:
            while text not in self.output:
                assert self._reader.is_alive(), self.output
                assert time.monotonic() < deadline, self.output
                self._news.wait(1)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, and return its exit status."""
        status = self._process.wait(self._patience)
        self._reader.join(10)
        return status

    def ended_well(self) -> str:
        """Wait for its end, which is a good one; returns all that it said, in plain characters."""
        status, output = self.wait(), self.output
        assert status == 0, output
        assert all(character.isprintable() or character == "\n" for character in output), output
        return output

    def children(self) -> dict[int, str]:
        """The processes that it started, and those that they started, with their command lines."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                    command = (entry / "cmdline").read_text().replace("\0", " ")
                except OSError:
                    continue
                parents[int(entry.name)] = (int(stat.rpartition(")")[2].split()[1]), command)
        found: dict[int, str] = {}
        todo = [self._process.pid]
        while todo:
            parent = todo.pop()
            for pid, (of, command) in parents.items():
                if of == parent:
                    found[pid] = command
                    todo.append(pid)
        return found

    def wait_until_it_has_children(self) -> None:
        """Wait until it has begun to start something."""
        polling.trying(timeout=self._patience, every=0.05)(self._has_children)

    def _has_children(self) -> None:
        assert self.children()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


Start = Callable[..., Demo]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start demos that end with the test."""
    started: list[Demo] = []

    def start_demo(*arguments: str, patience: float = PATIENCE) -> Demo:
        started.append(Demo(*arguments, directory=tmp_path, patience=patience))
        return started[-1]

    yield start_demo
    for demo in started:
        demo.kill()


def assert_nothing_is_left(demo: Demo, children: dict[int, str]) -> None:
    """Whoever was a child is gone, and so are the files."""
    assert children, "the demo was not looked at while it ran"
    left = {pid: command for pid, command in children.items() if Path(f"/proc/{pid}").exists()}
    assert left == {}, demo.output
    assert list(demo.directory.glob("lws-kueue-sandbox-*")) == []


def table_before(output: str, line: str) -> list[list[str]]:
    """The rows of the last table above the first line with that text."""
    above = output[: output.index(line)]
    last = above[above.rindex("Group ") :]
    return [
        re.split(r"\s{2,}", row.strip()) for row in last.splitlines()[1:] if row.startswith("  ")
    ]
