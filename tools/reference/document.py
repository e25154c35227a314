"""docs/reference.md as text, made of what `codes` lists."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tools.reference import codes

PLACE: Final = Path(__file__).resolve().parents[2] / "docs" / "reference.md"

_HEAD: Final = f"""\
# Events, conditions and reasons

What a LeaderWorkerSet and the Workloads of its groups tell, and what to do about it. `make
reference` writes this page; a test compares it with the code, so nothing is told that is not
listed.

`kubectl describe lws NAME` shows conditions and events. A group that does not run stands, with
its reason, in the condition `{codes.WAITS}`; a reason about which a person has to do something is a
Warning event as well, once for as long as it lasts; other values in the same text follow with
pauses that grow to five minutes. The text names the objects to look at.
"""
_WHERE: Final = {
    "waits": f"`{codes.WAITS}`",
    "Warning": "Warning",
    "Normal": "Normal",
}


def text() -> str:
    """Return the page."""
    told = [code for code in codes.CODES if code.where != ("Normal",)]
    done = [code for code in codes.CODES if "Normal" in code.where]
    parts = [
        _HEAD,
        "## Conditions\n",
        _table(
            ("Of", "Condition", "Reasons", "True means"),
            (
                (each.kind, f"`{each.name}`", _listed(each.reasons), each.meaning)
                for each in codes.CONDITIONS
            ),
        ),
        "## Why something does not happen\n",
        _table(
            ("Reason", "Told in", "Meaning", "What to do"),
            ((f"`{c.name}`", _places(c), c.meaning, c.fix) for c in _sorted(told)),
        ),
        "## What was done\n",
        _table(
            ("Event", "Type", "Meaning"),
            ((f"`{c.name}`", ", ".join(c.where), c.meaning) for c in _sorted(done)),
        ),
    ]
    return "\n".join(parts)


def _sorted(found: Iterable[codes.Code]) -> list[codes.Code]:
    return sorted(found, key=lambda code: code.name)


def _places(code: codes.Code) -> str:
    return ", ".join(_WHERE[where] for where in code.where)


def _listed(reasons: Sequence[str]) -> str:
    return ", ".join(f"`{reason}`" for reason in reasons) or "any below"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
