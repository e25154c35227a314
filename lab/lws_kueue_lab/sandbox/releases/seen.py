"""What was verified before: digests that are kept in the cache, and compared ever after.

Where the table has no pin, the first download is as good as its connection; every later one, from
wherever it comes, has to be the same.
"""

import dataclasses
import fcntl
import json
from pathlib import Path
from typing import Any, Final

from lws_kueue_lab.sandbox.releases import table
from lws_kueue_lab.sandbox.releases.errors import IntegrityError

FILE_NAME: Final = "seen.json"
_FIELDS: Final = tuple(field.name for field in dataclasses.fields(table.Digests))


class Seen:
    """The file of digests in a cache; `what` is a program or file and its version."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / FILE_NAME

    def of(self, what: str, wanted: table.Platform) -> table.Digests:
        """What was verified before, empty where nothing was."""
        return _of(self._read(), what, wanted)

    def keep(self, what: str, wanted: table.Platform, digests: table.Digests) -> None:
        """Keep what was verified; the digest of the index is the same for all platforms."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = self._read()
            # Another run may have kept something since this one compared.
            compare(what, digests, wanted=_of(content, what, wanted), by="what was seen before")
            content[what] = {"index": digests.index}
            key = f"{what} {wanted.key}"
            content[key] = {"layer": digests.layer, "program": digests.program}
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
            partial.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            return _entries(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError, IsADirectoryError) as error:
            raise IntegrityError(
                f"{self._path} is damaged ({error}): what was verified before is not known. "
                "Remove it to trust what comes next."
            ) from error


def _entries(content: Any) -> dict[str, Any]:
    """The content of the file; ValueError for what this module has not written."""
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise ValueError("it is no table of digests")
    return content


def _of(content: dict[str, Any], what: str, wanted: table.Platform) -> table.Digests:
    known = content.get(f"{what} {wanted.key}", {})
    return table.Digests(
        index=content.get(what, {}).get("index", ""),
        layer=known.get("layer", ""),
        program=known.get("program", ""),
    )


def compare(what: str, found: table.Digests, *, wanted: table.Digests, by: str) -> None:
    """Raise IntegrityError if one of the digests is wanted and another one; `by` says by whom."""
    for field in _FIELDS:
        expected, actual = getattr(wanted, field), getattr(found, field)
        if expected and actual and expected != actual:
            raise IntegrityError(
                f"{what}: its {field} has the digest {actual}, and {by} wants {expected}"
            )
