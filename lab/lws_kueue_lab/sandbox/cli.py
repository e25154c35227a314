"""`lws-kueue sandbox`: a cluster to play with, from the command line."""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from lws_kueue.api import printable
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import (
    binaries,
    cluster,
    downloads,
    kueue,
    kueue_choice,
    kueue_manager,
    records,
)
from lws_kueue_lab.sandbox.releases import table

_CHECK_EVERY_SECONDS = 2.0
_READY_TIMEOUT_SECONDS = 300.0
_DOWN_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.1

_name_option = click.option(
    "--name",
    default=records.DEFAULT_NAME,
    show_default=True,
    help="Which sandbox, if several run side by side.",
)


@click.group("sandbox")
def sandbox_group() -> None:
    """A throw-away Kubernetes cluster on this machine."""


@sandbox_group.command()
@_name_option
@click.option(
    "--backend",
    type=click.Choice(["process", "container"]),
    default="process",
    show_default=True,
    help="Run the control plane as processes or in containers.",
)
@click.option("--nodes", type=click.IntRange(0, 1000), default=4, show_default=True)
@click.option("--blocks", type=click.IntRange(1), default=1, show_default=True)
@click.option("--racks", type=click.IntRange(1), default=1, show_default=True, help="Per block.")
@click.option(
    "--kueue",
    type=kueue_choice.KUEUE_CHOICE,
    default="auto",
    show_default=True,
    help=kueue_choice.HELP,
)
@click.option("--audit-log/--no-audit-log", default=True, show_default=True)
@click.option("--detach", is_flag=True, help="Return when it is ready and leave it running.")
def up(**arguments: Any) -> None:
    """Start a sandbox and keep it until Ctrl-C, or until `down` with --detach."""
    with _errors_for_people():
        if arguments.pop("detach"):
            _detach(**arguments)
        else:
            _run(**arguments)


@sandbox_group.command()
@_name_option
def down(name: str) -> None:
    """Stop a sandbox; nothing of it stays."""
    with _errors_for_people():
        record = records.find(name)
        if record is None:
            click.echo(f"no sandbox with the name {name} runs")
            return
        os.kill(record.pid, signal.SIGTERM)
        if not records.wait_until_gone(name, timeout=_DOWN_TIMEOUT_SECONDS):
            raise cluster.SandboxError(f"process {record.pid} does not end")
        click.echo(f"sandbox {name} is gone")


@sandbox_group.command()
@_name_option
def kubeconfig(name: str) -> None:
    """Print the path of a sandbox's kubeconfig."""
    with _errors_for_people():
        record = records.find(name)
        if record is None or not record.kubeconfig:
            raise cluster.SandboxError(
                f"no sandbox with the name {name} is ready; start one with `lws-kueue sandbox up`"
            )
        click.echo(record.kubeconfig)


@sandbox_group.command()
def build() -> None:
    """Download or build the programs of the sandbox, unless the cache has them."""
    with _errors_for_people():
        for program, path in binaries.ensure().items():
            click.echo(f"{program}: {path}")


_platform_option = click.option(
    "--platform",
    "platform_name",
    help="Other than this machine's: linux/amd64 or linux/arm64.",
)
_release_kueue_option = click.option(
    "--kueue", "kueue_version", help="Another version of Kueue than that of releases.toml."
)


@sandbox_group.command()
@_platform_option
@_release_kueue_option
def fetch(platform_name: str | None, kueue_version: str | None) -> None:
    """Download all programs and a Kueue; build nothing.

    The cache (LWS_KUEUE_CACHE) then has what a machine without a network needs: copy the folder
    there, and look with `verify`.
    """
    with _errors_for_people():
        target = _target(platform_name)
        with downloads.opened(binaries.cache_directory(), table.known()) as downloader:
            for release in (*binaries.releases(), kueue_manager.release(kueue_version or "")):
                click.echo(f"{release}: {downloader.get(release, target)}")


@sandbox_group.command()
@_platform_option
@_release_kueue_option
def verify(platform_name: str | None, kueue_version: str | None) -> None:
    """Compare all that is kept with the digests that it has to have, or had when it came.

    Fails if something is missing or another one.
    """
    with _errors_for_people():
        target, cache = _target(platform_name), binaries.cache_directory()
        for line in binaries.verify(target):
            click.echo(line)
        release = kueue_manager.release(kueue_version or "")
        missing = not release.place(cache, target).is_dir()
        if missing and kueue_version is None and binaries.is_built(target):
            # Whoever builds may well have no Kueue, which is never built.
            click.echo(f"{release}: never downloaded")
            return
        for line in downloads.verify(release, cache, target):
            click.echo(line)


def _target(name: str | None) -> table.Platform:
    if name is None:
        return table.platform_of(platform.system())
    system, _, architecture = name.partition("/")
    if not system or not architecture:
        raise cluster.SandboxError(f"{name} is no platform, such as linux/arm64")
    return table.platform_of(system, architecture)


def _run(*, name: str, backend: cluster.Backend, **arguments: Any) -> None:
    """Own a sandbox until somebody asks for its end."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        if stopped.is_set():
            return
        stopped.set()
        raise _StopRequested

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with (
        contextlib.suppress(_StopRequested),
        records.claim(name) as publish,
        sandbox.open(backend, options=_options(**arguments)) as opened,
    ):
        # Who waits for it reads that once it is ready.
        _say_how_to_use(opened)
        publish(
            records.Record(
                name=name,
                pid=os.getpid(),
                kubeconfig=str(opened.kubeconfig),
                server=opened.api.server,
            )
        )
        click.echo("Ctrl-C stops it; nothing of it stays.")
        while not stopped.wait(_CHECK_EVERY_SECONDS):
            opened.check()
    click.echo("sandbox stopped")


class _StopRequested(BaseException):
    """Unwinds `_run` from wherever a signal reached it."""


def _options(
    *, nodes: int, blocks: int, racks: int, kueue: cluster.KueueChoice, audit_log: bool
) -> cluster.Options:
    return cluster.Options(
        nodes=nodes,
        topology=cluster.Topology(blocks=blocks, racks=racks),
        kueue=kueue,
        audit_log=audit_log,
    )


def _say_how_to_use(opened: cluster.Sandbox) -> None:
    for key, value in opened.describe().items():
        click.echo(f"{key + ':':12} {value}")
    click.echo(f"\n  export KUBECONFIG={opened.kubeconfig}")
    click.echo(f"  {binaries.ensure()['kubectl']} get nodes\n")


def _detach(*, name: str, **arguments: Any) -> None:
    """Start a process of its own that owns the sandbox, and wait until that is ready."""
    if records.find(name) is not None:
        raise cluster.SandboxError(f"a sandbox with the name {name} runs already")
    # Here, where their progress is seen.
    kueue.have(arguments["kueue"], backend=arguments["backend"])
    binaries.ensure()
    log = records.log_path(name)
    with log.open("wb") as output:
        owner = subprocess.Popen(
            [sys.executable, "-c", _OWNER, "up", f"--name={name}", *_as_flags(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    record = _wait_until_ready(name, owner, log)
    click.echo(log.read_text(errors="replace").partition("Ctrl-C")[0].rstrip())
    click.echo(f"\nsandbox {name} runs until `lws-kueue sandbox down --name {name}`")
    click.echo(f"its log is {log}, its process {record.pid}")


_OWNER = "from lws_kueue_lab.sandbox import cli; cli.sandbox_group(prog_name='lws-kueue sandbox')"


def _as_flags(arguments: dict[str, Any]) -> list[str]:
    flags = []
    for key, value in arguments.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags.append(f"--{flag}={value}")
    return flags


def _wait_until_ready(name: str, owner: "subprocess.Popen[bytes]", log: Path) -> records.Record:
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        record = records.find(name)
        if record is not None and record.kubeconfig:
            return record
        if owner.poll() is not None:
            raise cluster.SandboxError(
                "the sandbox did not start:\n" + log.read_text(errors="replace")
            )
        time.sleep(_POLL_SECONDS)
    owner.terminate()
    raise cluster.SandboxError(f"the sandbox is not ready after {_READY_TIMEOUT_SECONDS:g} s")


@contextlib.contextmanager
def _errors_for_people() -> Iterator[None]:
    """Show what went wrong without the stack, which says nothing to whoever lacks Go."""
    try:
        yield
    except cluster.SandboxError as error:
        # The end of a log may be a part of it.
        _fail(printable.escaped(str(error)))


def _fail(message: str) -> NoReturn:
    raise click.ClickException(message)
