"""``python -m lws_kueue_lab.kueue_standin``: run the stand-in for Kueue against a cluster."""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import click

from lws_kueue_lab.kueue_standin import installation, lifecycle, pod_marks, process, run
from lws_kueue_lab.sandbox import client

_NOTICE = (
    "This is a stand-in for Kueue, for sandboxes and tests. It is not Kueue: it has no fair "
    "sharing, no MultiKueue, and answers no admission check."
)


@click.command()
@click.option(
    "--kubeconfig",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the credentials of an administrator.",
)
@click.option("--install", is_flag=True, help="Apply the definitions and the policy first.")
@click.option(
    "--pods-ready-timeout",
    type=float,
    default=1800.0,
    show_default=True,
    help="Seconds that pods may take to become ready; 0 for ever.",
)
@click.option("--backoff-base", type=float, default=60.0, show_default=True)
@click.option("--backoff-max", type=float, default=3600.0, show_default=True)
@click.option("--backoff-limit", type=int, default=None, help="Evictions until deactivation.")
@click.option("--pods", is_flag=True, help="Mark pods as the pod integration does, by a webhook.")
@click.option("--external-sets", is_flag=True, help="LeaderWorkerSets are an external framework.")
@click.option("--everything", is_flag=True, help="Jobs without a queue are managed as well.")
@click.option("--until-stdin-closes", is_flag=True, help="End when whoever started this ends.")
def main(
    kubeconfig: Path,
    install: bool,
    pods_ready_timeout: float,
    backoff_base: float,
    backoff_max: float,
    backoff_limit: int | None,
    pods: bool,
    external_sets: bool,
    everything: bool,
    until_stdin_closes: bool,
) -> None:
    """Admit Workloads in the place of Kueue; prints "ready" once it does."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S"
    )
    logging.info(_NOTICE)
    options = lifecycle.Options(
        pods_ready_timeout=pods_ready_timeout or None,
        backoff_base=backoff_base,
        backoff_max=backoff_max,
        backoff_limit=backoff_limit,
        pods=pod_marks.Integration(external=external_sets, everything=everything) if pods else None,
    )
    try:
        if install:
            installation.install(client.Client(kubeconfig, user_agent=run.USER_AGENT))
        _serve(run.Runner(kubeconfig, options), until_stdin_closes=until_stdin_closes)
    except installation.ForeignKueueError as error:
        raise click.ClickException(str(error)) from error


def _serve(runner: run.Runner, *, until_stdin_closes: bool) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: runner.stop())
    if until_stdin_closes:
        threading.Thread(target=_wait_for_end_of_stdin, args=(runner,), daemon=True).start()
    ready = threading.Event()
    threading.Thread(target=_announce, args=(ready,), daemon=True).start()
    runner.run(on_ready=ready)
    sys.stdout.flush()
    # The watchers sit in reads that nothing interrupts; there is nothing to save.
    os._exit(0)


def _wait_for_end_of_stdin(runner: run.Runner) -> None:
    sys.stdin.read()
    runner.stop()


def _announce(ready: threading.Event) -> None:
    ready.wait()
    print(process.READY, flush=True)


if __name__ == "__main__":
    main()
