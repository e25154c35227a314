"""The stand-in as a child process of whoever uses a sandbox."""

import contextlib
import dataclasses
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import urllib3.exceptions

import lws_kueue_lab
from lws_kueue_lab.kueue_standin import installation, lifecycle, webhook
from lws_kueue_lab.sandbox import client, cluster

READY: Final = "ready"
_START_SECONDS: Final = 60.0
_END_SECONDS: Final = 5.0
_TAIL_LINES: Final = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Handle:
    """A running stand-in: its process id and its log."""

    pid: int
    log: Path


@contextlib.contextmanager
def start(
    sandbox: cluster.Sandbox, *, options: lifecycle.Options | None = None
) -> Iterator[Handle]:
    """Install the API of the stand-in and run it for as long as the context is open.

    The child ends by itself when this process does, however that happens: it watches a pipe.

    Raises:
        ForeignKueueError: the cluster has the API of a real Kueue.
        ComponentDiedError: the stand-in did not become ready.
    """
    installation.install(sandbox.api)
    options = options or lifecycle.Options()
    if sandbox.backend != "process":
        # Only an API server of this machine reaches a webhook on loopback.
        options = dataclasses.replace(options, pods=None)
    log = sandbox.directory / "kueue-stand-in.log"
    command = [
        *(sys.executable, "-m", "lws_kueue_lab.kueue_standin"),
        *("--kubeconfig", str(sandbox.kubeconfig), "--until-stdin-closes"),
        *_arguments(options),
    ]
    with log.open("ab") as stream:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            env=os.environ | {"PYTHONPATH": lws_kueue_lab.python_path()},
            # Ctrl-C is for the owner to handle.
            start_new_session=True,
        )
    try:
        _wait_until_ready(child, log)
        yield Handle(pid=child.pid, log=log)
    finally:
        _end(child)
        # The sandbox may be gone already, and with it what was to be removed.
        with contextlib.suppress(client.ApiError, urllib3.exceptions.HTTPError, OSError):
            webhook.remove(sandbox.api)


def _arguments(options: lifecycle.Options) -> list[str]:
    arguments = [
        f"--pods-ready-timeout={options.pods_ready_timeout or 0}",
        f"--backoff-base={options.backoff_base}",
        f"--backoff-max={options.backoff_max}",
    ]
    if options.backoff_limit is not None:
        arguments.append(f"--backoff-limit={options.backoff_limit}")
    if options.pods is not None:
        arguments.append("--pods")
        arguments += ["--external-sets"] if options.pods.external else []
        arguments += ["--everything"] if options.pods.everything else []
    return arguments


def _wait_until_ready(child: subprocess.Popen[bytes], log: Path) -> None:
    assert child.stdout is not None
    deadline = time.monotonic() + _START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        if selector.select(deadline - time.monotonic()):
            line = child.stdout.readline().decode().strip()
            if line == READY:
                return
    _end(child)
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    raise cluster.ComponentDiedError(
        name="the stand-in for Kueue", status=child.returncode, log_tail="\n".join(lines)
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
