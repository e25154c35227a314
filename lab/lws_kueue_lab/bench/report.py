"""What all runs came to: medians, ratios, a table for people and JSON for everything else."""

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import rich.box
import rich.table

from lws_kueue_lab.bench import cases, contenders, measure, requests

Figures = Mapping[str, float]

# Processes of those who are compared, by the names of their logs.
_MANAGERS: Final = ("lws-kueue", "lws", "kueue", requests.STANDIN)
_SERVER: Final = "kube-apiserver"
# Counts: what is missing is none.
_COUNTED: Final = ("writes.", "reads.", "events.")
_MIB: Final = 2**20
_NOTHING: Final = "-"


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """What the runs of one row have in common."""

    case: cases.Case
    contender: contenders.Contender
    shape: cases.Shape
    phase: measure.Phase


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The medians of one phase, over the runs that finished it, and the ratios to others.

    ``of_floor`` and ``of_peer`` have the ratios of the figures that both have; they are empty where
    there is nothing to compare with.
    """

    key: Key
    runs: int
    unfinished: int
    figures: Figures
    of_floor: Figures
    of_peer: Figures


def rows(results: Iterable[measure.Result]) -> list[Row]:
    """Make a row of each phase of a case, in the order in which they were seen first."""
    grouped: dict[Key, list[measure.Result]] = defaultdict(list)
    for one in results:
        grouped[Key(one.case, one.contender, one.shape, one.phase)].append(one)
    figures = {
        key: derived(medians([one.figures for one in found if one.finished]))
        for key, found in grouped.items()
    }
    return [
        Row(
            key=key,
            runs=len(found),
            unfinished=sum(not one.finished for one in found),
            figures=figures[key],
            of_floor=ratios(figures[key], _figures_of_floor(key, figures)),
            of_peer=ratios(figures[key], _figures_of_peer(key, figures)),
        )
        for key, found in grouped.items()
    ]


def medians(runs: Sequence[Figures]) -> dict[str, float]:
    """Return the median of each figure; a count that a run does not have was none."""
    named = {name: None for run in runs for name in run}
    return {
        name: statistics.median(
            run.get(name, 0.0) for run in runs if name in run or name.startswith(_COUNTED)
        )
        for name in named
    }


def derived(figures: Figures) -> dict[str, float]:
    """Add what is said of the managers together, and of a group or a pod."""
    if not figures:
        return {}
    cpu = sum(figures.get(f"cpu.{name}", 0.0) for name in _MANAGERS)
    written = requests.of_managers(figures, "writes")
    more = {
        "managers.cpu": cpu,
        "managers.writes": written,
        "managers.reads": requests.of_managers(figures, "reads"),
        "managers.events": requests.of_managers(figures, "events"),
        "managers.writes_per_group": written / figures["groups"],
        "managers.cpu_per_pod": cpu / figures["pods"],
    }
    if "cpu.lws-kueue" in figures:
        more["own.cpu_per_pod"] = figures["cpu.lws-kueue"] / figures["pods"]
    return {**figures, **more}


def ratios(figures: Figures, others: Figures) -> dict[str, float]:
    """Divide what both have; nothing is divided by nothing."""
    return {name: value / others[name] for name, value in figures.items() if others.get(name)}


def _figures_of_floor(key: Key, figures: Mapping[Key, Figures]) -> Figures:
    if key.case == "floor":
        return {}
    return figures.get(Key("floor", "nobody", key.shape, key.phase), {})


def _figures_of_peer(key: Key, figures: Mapping[Key, Figures]) -> Figures:
    if key.contender != "ours":
        return {}
    peers = (dataclasses.replace(key, contender=peer) for peer in contenders.PEERS)
    return next((figures[peer] for peer in peers if peer in figures), {})


def table(found: Iterable[Row]) -> rich.table.Table:
    """Show the figures that matter; the JSON has all of them."""
    shown = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for column in ("case", "who", "groups", "phase"):
        shown.add_column(column, no_wrap=True)
    for column in (
        *("first pod s", "all s", "/ floor", "/ peer", "release p50 s", "p99 s"),
        *("managers' CPU s", "ours ms a pod", "API server's CPU s", "/ floor"),
        *("writes a group", "Events", "ours MiB", "longest block s"),
    ):
        shown.add_column(column, justify="right")
    for row in found:
        shown.add_row(*cells(row))
    return shown


def cells(row: Row) -> list[str]:
    """Return the cells of one row, in the order of the table's columns."""
    key, figures = row.key, row.figures
    number = _Numbers(figures)
    return [
        key.case,
        key.contender,
        str(key.shape),
        key.phase,
        number("seconds.first"),
        number("seconds") if figures else f"not in time ({row.unfinished})",
        _Numbers(row.of_floor)("seconds", digits=2),
        _Numbers(row.of_peer)("seconds", digits=2),
        number("release.p50", digits=2),
        number("release.p99", digits=2),
        number("managers.cpu") if key.case != "floor" else _NOTHING,
        number("own.cpu_per_pod", scale=1e3),
        number(f"cpu.{_SERVER}"),
        _Numbers(row.of_floor)(f"cpu.{_SERVER}", digits=2),
        number("managers.writes_per_group") if key.case != "floor" else _NOTHING,
        number("managers.events", digits=0) if key.case != "floor" else _NOTHING,
        number("peak.lws-kueue", scale=1 / _MIB, digits=0),
        number("block.wall", digits=2),
    ]


class _Numbers:
    """Says figures with so many digits, and a dash for one that is not there."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def __call__(self, name: str, *, scale: float = 1.0, digits: int = 1) -> str:
        value = self._figures.get(name)
        return _NOTHING if value is None else f"{value * scale:.{digits}f}"


def as_json(
    machine: Mapping[str, Any], results: Iterable[measure.Result], found: Iterable[Row]
) -> dict[str, Any]:
    """Return everything: the machine, each phase of each run, and the rows with their ratios."""
    return {
        "machine": dict(machine),
        "runs": [dataclasses.asdict(result) for result in results],
        "medians": [_flat(row) for row in found],
    }


def _flat(row: Row) -> dict[str, Any]:
    fields = dataclasses.asdict(row)
    return {**fields.pop("key"), **fields}
