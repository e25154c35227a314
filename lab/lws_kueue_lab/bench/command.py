"""`lws-kueue bench`."""

import contextlib
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import rich.console

import lws_kueue
from lws_kueue.api import printable
from lws_kueue_lab import sandbox
from lws_kueue_lab.bench import cases, contenders, measure, report
from lws_kueue_lab.sandbox import binaries, client, kueue_settings

# Wide enough for every row: in a log nothing is cut.
_WIDTH: Final = 240
_QUICK: Final[tuple[cases.Case, ...]] = ("floor", "plain", "queue-managed")

# What is wrong outside of the program, to be told in words.
_TOLD: Final = (sandbox.SandboxError, client.ApiError, client.WaitTimeoutError)


@click.command("bench")
@click.option(
    "--case",
    "chosen",
    type=click.Choice(cases.CASES),
    multiple=True,
    default=_QUICK,
    show_default=True,
    help="What is measured; can be repeated.",
)
@click.option(
    "--groups",
    type=click.IntRange(1),
    multiple=True,
    default=(50,),
    show_default=True,
    help="Groups of the set; can be repeated.",
)
@click.option(
    "--size", type=click.IntRange(1), default=4, show_default=True, help="Pods of a group."
)
@click.option(
    "--runs", type=click.IntRange(1), default=1, show_default=True, help="Medians are of so many."
)
@click.option("--life", is_flag=True, help="Restart, scaling, a roll and deletion as well.")
@click.option(
    "--rest", type=click.FloatRange(0), default=0.0, help="Seconds at rest, after the creation."
)
@click.option(
    "--peers/--no-peers",
    default=True,
    show_default=True,
    help="LWS and Kueue's integration take part if the environment names their programs.",
)
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    default=kueue_settings.RELEASED_FRAMEWORKS,
    help="Kueue's integrations; can be repeated. By default those of its release.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=900.0,
    show_default=True,
    help="Seconds that a phase may take.",
)
@click.option("--nodes", type=click.IntRange(8), default=measure.NODES, show_default=True)
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write everything that was measured to this file.",
)
def bench_command(
    chosen: tuple[cases.Case, ...],
    groups: tuple[int, ...],
    size: int,
    runs: int,
    peers: bool,
    file: Path | None,
    **plan: Any,
) -> None:
    """Measure how fast sets start and what that costs, beside those who do the same.

    Every run has a real Kubernetes control plane of its own on this machine. Nothing else should
    run beside it: ratios count, and the load is written down.
    """
    shapes = [cases.Shape(one, size) for one in groups]
    results: list[measure.Result] = []
    try:
        binaries.ensure()
        for result in _results(chosen, shapes, measure.Plan(**plan), runs=runs, peers=peers):
            results.append(result)
            click.echo(_line(result), err=True)
    except KeyboardInterrupt:
        # What is measured already took long.
        click.echo("Interrupted: everything is stopped.", err=True)
        sys.exit(130)
    except _TOLD as error:
        click.echo(f"lws-kueue bench: {printable.escaped(str(error))}", err=True)
        sys.exit(1)
    finally:
        if results:
            _tell(results, file)


def _results(
    chosen: tuple[cases.Case, ...],
    shapes: list[cases.Shape],
    plan: measure.Plan,
    *,
    runs: int,
    peers: bool,
) -> Iterator[measure.Result]:
    """Carry out everything once, then again: what a machine does meanwhile meets all the same."""
    for number in range(1, runs + 1):
        for shape in shapes:
            for case in chosen:
                for contender in contenders.of(case, peers=peers):
                    found = measure.run(case, contender, shape, plan, number=number)
                    with contextlib.closing(found):
                        yield from found


def _line(result: measure.Result) -> str:
    seconds = f"{result.figures['seconds']:.1f} s" if result.finished else "not in time"
    return (
        f"run {result.run}: {result.case}, {result.contender}, {result.shape}, {result.phase}: "
        f"{seconds}, load {result.figures['load.before']:.1f} to {result.figures['load.after']:.1f}"
    )


def _tell(results: list[measure.Result], file: Path | None) -> None:
    rows = report.rows(results)
    if file is not None:
        content = report.as_json(_machine(results), results, rows)
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    rich.console.Console(width=_WIDTH).print(report.table(rows))


def _machine(results: list[measure.Result]) -> dict[str, Any]:
    """Say what was measured on, without the names of anything."""
    return {
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": lws_kueue.__version__,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "kueue": sorted({result.kueue for result in results}),
    }
