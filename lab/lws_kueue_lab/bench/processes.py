"""What the processes of a sandbox cost, read from /proc."""

import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_KIB: Final = 1024
_OWN_NAME: Final = "bench"


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it began: seconds of CPU, and its peak of memory in bytes."""

    cpu_seconds: float
    peak_bytes: int


# By the name and the id of the process: one that is started again is another one.
Usages = Mapping[tuple[str, int], Usage]


def usage() -> Usages:
    """Return what this process, and each component that it or a child of it runs, has used.

    Those that have ended are not among them.
    """
    found: dict[tuple[str, int], Usage] = {}
    for pid in (os.getpid(), *_descendants(os.getpid())):
        try:
            name = _OWN_NAME if pid == os.getpid() else _name(pid)
            if name:
                found[name, pid] = Usage(cpu_seconds(pid), _peak_bytes(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a process has used so far."""
    return _cpu_ticks((_PROC / str(pid) / "stat").read_text()) / os.sysconf("SC_CLK_TCK")


def spent(before: Usages, after: Usages) -> Mapping[str, float]:
    """Return figures: `cpu.NAME` in seconds between the two looks, and `peak.NAME` in bytes."""
    figures: dict[str, float] = {}
    for (name, pid), used in after.items():
        begun = before.get((name, pid), Usage(0.0, 0)).cpu_seconds
        cpu, peak = f"cpu.{name}", f"peak.{name}"
        figures[cpu] = figures.get(cpu, 0.0) + used.cpu_seconds - begun
        figures[peak] = max(figures.get(peak, 0.0), float(used.peak_bytes))
    return figures


def _descendants(pid: int) -> Iterable[int]:
    for task in (_PROC / str(pid) / "task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)


def _name(pid: int) -> str:
    """Return the name of a component, which is that of the log that it writes; others have none."""
    log, own = ((_PROC / who / "fd" / "2").readlink() for who in (str(pid), "self"))
    return log.stem if log.suffix == ".log" and log != own else ""


def _cpu_ticks(stat: str) -> int:
    # The name of the program, in brackets, may have spaces.
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _peak_bytes(pid: int) -> int:
    return _peak((_PROC / str(pid) / "status").read_text())


def _peak(status: str) -> int:
    found = _PEAK.search(status)
    return int(found.group(1)) * _KIB if found else 0
