"""What was recorded of the corpus, and what an upgrade would cost where it is not that any more."""

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from tests.rendered import corpus

FOLDER: Final = Path(__file__).parent / "sets"
MOST_LINES: Final = 40

ROLLS: Final = (
    "every running set of this shape would be rolled on an upgrade: all pods of all its groups"
    " would be replaced, though nobody has changed the set"
)
STAYS: Final = "running sets of this shape would be written to on an upgrade; their pods would stay"
ASKED: Final = (
    "groups made after an upgrade ask for it; those that run may have to be admitted anew, which"
    " tests/frozen/test_at_rest.py tells"
)
LATER: Final = (
    "groups that run keep what they have, and those made after an upgrade get something else"
)
REMEDY: Final = (
    "If that is meant, record anew with `.venv/bin/python -m tests.rendered`, look at the"
    " difference, and write into CHANGELOG.md which sets are rolled by an upgrade, and the new"
    " number of the recording. If it is not, render what was recorded."
)

Object = dict[str, Any]


class _Plain(yaml.SafeDumper):
    """Writes nothing as an alias of something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(objects: Iterable[Object]) -> str:
    """Return objects as they are recorded."""
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=True, width=100, allow_unicode=True)


def recorded() -> dict[str, str]:
    """Return the text of each recording by the name of its set."""
    return {file.stem: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.yaml"))}


def number(recordings: dict[str, str]) -> str:
    """Return a short number of all recordings together: another one where anything differs."""
    whole = "".join(f"{name}\n{content}" for name, content in sorted(recordings.items()))
    return hashlib.sha256(whole.encode()).hexdigest()[:10]


def record() -> dict[str, str]:
    """Return what there is to record now."""
    return {name: text([obj, *corpus.rendered(obj)]) for name, obj in corpus.sets_by_name().items()}


def complaint(name: str, before: str, now: str) -> str:
    """Return what is to be said of a set that is not rendered as recorded, "" if it is."""
    if before == now:
        return ""
    lines = difflib.unified_diff(
        before.splitlines(), now.splitlines(), "recorded", "rendered now", lineterm="", n=2
    )
    shown = list(lines)
    more = [f"... and {len(shown) - MOST_LINES} more lines"] if len(shown) > MOST_LINES else []
    costs = "\n".join(f"- {one}" for one in _costs(name, _objects(before), _objects(now)))
    return "\n".join(
        (f"The set {name} is rendered otherwise:", costs, REMEDY, *shown[:MOST_LINES], *more)
    )


def _objects(content: str) -> dict[corpus.Identity, Object]:
    documents = yaml.safe_load_all(content)
    next(documents)  # The set itself.
    return {corpus.identity(obj): obj for obj in documents}


def _costs(
    name: str, before: dict[corpus.Identity, Object], now: dict[corpus.Identity, Object]
) -> Iterator[str]:
    for kind, own in sorted(before.keys() | now.keys()):
        old, new = before.get((kind, own)), now.get((kind, own))
        if old != new:
            yield f"{kind} {own}: {_cost(old, new, of_set=own == name)}"


def _cost(old: Object | None, new: Object | None, *, of_set: bool) -> str:
    kind = (old or new or {})["kind"]
    if kind == "ControllerRevision":
        return ROLLS
    if kind == "StatefulSet" and of_set:
        return ROLLS if _template(old) != _template(new) else STAYS
    return ASKED if kind == "Workload" else LATER


def _template(leaders: Object | None) -> Any:
    return leaders and leaders["spec"]["template"]
