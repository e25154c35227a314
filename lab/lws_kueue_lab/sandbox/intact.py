"""Whether the programs in the cache are still what was put there.

Beside them lies what says which digests they had: where they came from with what was downloaded,
and `built.json` with what was built. To read them all would cost every start a second or more; so
before a start only those are read that were written to after that file was. Who writes into a
program, or copies a cache, does that; a program that ended by itself is read in any case.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from lws_kueue_lab.sandbox.releases import obtain, registry
from lws_kueue_lab.sandbox.releases.errors import IntegrityError

BUILT: Final = "built.json"


def keep(place: Path, programs: Iterable[str]) -> None:
    """Keep the digests of the programs that were built in a folder."""
    digests = {name: registry.sha256_of(place / name) for name in sorted(programs)}
    (place / BUILT).write_text(json.dumps(digests, indent=2) + "\n")


def check(place: Path) -> None:
    """Raise IntegrityError if a program of a folder is gone, or was changed since it came.

    A folder that says nothing of digests is passed over: there is nothing to compare with.
    """
    record = _record(place)
    if record is None:
        return
    since = record.stat().st_mtime_ns
    written_to = [name for name in _digests(record) if _written(place / name) > since]
    if not written_to:
        return
    compare(place, written_to)
    # They are right, so they need not be read the next time. Somebody else's cache stays as it is.
    with contextlib.suppress(OSError):
        os.utime(record)


def compare(place: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """The digests of the programs of a folder, by name, read anew; of `names` or of all.

    Raises IntegrityError for the first that is another one than it was. Empty if the folder says
    nothing of digests.
    """
    record = _record(place)
    if record is None:
        return {}
    digests = _digests(record)
    wanted = {name: digests[name] for name in (digests if names is None else names)}
    for name, digest in wanted.items():
        _written(place / name)
        if (found := registry.sha256_of(place / name)) != digest:
            raise IntegrityError(
                f"{place / name} is damaged: its digest is {found}, and was {digest} when it came. "
                f"{_remedy(place)}"
            )
    return wanted


def damage(program: Path) -> str:
    """What is wrong with a program that did not run; empty if nothing is, or nothing is known."""
    record = _record(program.parent)
    try:
        if record is not None and program.name in _digests(record):
            compare(program.parent, [program.name])
    except IntegrityError as error:
        return str(error)
    return ""


def _record(place: Path) -> Path | None:
    """The file that says which digests the programs of a folder had."""
    names = (obtain.PROVENANCE, BUILT)
    return next((place / name for name in names if (place / name).is_file()), None)


def _digests(record: Path) -> Mapping[str, str]:
    place = record.parent
    try:
        if record.name == BUILT:
            kept = json.loads(record.read_text())
            return {str(name): str(digest) for name, digest in kept.items()}
        # What is no program has a folder of its own.
        came = (one for one in obtain.read(place) if not (place / one.name).is_dir())
        return {one.name: one.digests.program for one in came}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityError(f"{record} is damaged ({error}). {_remedy(place)}") from error


def _written(program: Path) -> int:
    """When a program was written to, in nanoseconds."""
    if not program.is_file():
        raise IntegrityError(f"{program} is missing. {_remedy(program.parent)}")
    return program.stat().st_mtime_ns


def _remedy(place: Path) -> str:
    return (
        f"Remove {place}: the next start gets it anew. "
        "`lws-kueue sandbox verify` looks at everything else that is kept"
    )
