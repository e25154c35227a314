"""Which sandboxes run under which name, so that another command can find and stop them.

The owner of a sandbox holds a lock on its record for as long as it lives. A record without a lock
is a leftover of an owner that was killed, whatever its content says.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from lws_kueue_lab.sandbox import cluster

DEFAULT_NAME = "default"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?")
_POLL_SECONDS = 0.1
_CLAIM_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A running sandbox; without `kubeconfig` it is not ready yet."""

    name: str
    pid: int
    kubeconfig: str = ""
    server: str = ""


def directory() -> Path:
    """Where records and logs of detached sandboxes lie: XDG's runtime, else its state directory."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        base = Path(runtime)
    else:
        base = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
    path = base / "lws-kueue" / "sandboxes"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def log_path(name: str) -> Path:
    """Where a detached sandbox writes what it would have said on a terminal."""
    return directory() / f"{name}.log"


@contextlib.contextmanager
def claim(name: str) -> Iterator[Callable[[Record], None]]:
    """Own the name while the context is open; gives a function that publishes the record.

    Raises `SandboxError` if another live process owns it.
    """
    path = _path(name)
    with _lock(path) as file:
        try:
            _write(file, Record(name=name, pid=os.getpid()))
            yield lambda record: _write(file, record)
        finally:
            path.unlink(missing_ok=True)


def find(name: str) -> Record | None:
    """The sandbox with this name, if its owner lives."""
    try:
        with _path(name).open() as file:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return None
            return Record(**json.load(file))
    except (FileNotFoundError, json.JSONDecodeError):
        return None  # Not there, or it begins this very moment.


def wait_until_gone(name: str, *, timeout: float) -> bool:
    """Wait for the end of the owner of a name; False if it is still there after `timeout`."""
    deadline = time.monotonic() + timeout
    while find(name) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise cluster.SandboxError(
            f"{name!r} is no name for a sandbox: use lower-case letters, digits and dashes"
        )
    return directory() / f"{name}.json"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[IO[str]]:
    """Open the record for writing, under a lock that ends with this process.

    `find` of another process holds the lock for a moment, and an owner that ends removes the
    file, so failures are retried for a little while.
    """
    deadline = time.monotonic() + _CLAIM_SECONDS
    while True:
        with path.open("a+") as file:
            if _try_lock(file) and _is_still(path, file):
                yield file
                return
        if time.monotonic() > deadline:
            raise cluster.SandboxError(
                f"a sandbox with the name {path.stem} runs already; stop it with "
                f"`lws-kueue sandbox down --name {path.stem}` or choose another --name"
            )
        time.sleep(_POLL_SECONDS)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _write(file: IO[str], record: Record) -> None:
    file.seek(0)
    file.truncate()
    file.write(json.dumps(dataclasses.asdict(record)))
    file.flush()
