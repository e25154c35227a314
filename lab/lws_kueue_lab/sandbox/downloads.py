"""Released programs in the cache: downloading them once, saying where from, and looking after them.

What belongs together has one folder of the cache, by version and platform. Which of several sources
served, why one was passed over, and what the digests were compared with, is said in one line.
"""

import contextlib
import dataclasses
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from lws_kueue_lab.sandbox import intact, locks, progress
from lws_kueue_lab.sandbox.releases import layers, obtain, registry, seen, sources, table, transfer
from lws_kueue_lab.sandbox.releases.errors import IntegrityError, UnavailableError

_TRUST = {
    "pinned": "all digests are those of releases.toml",
    "seen": "the digests are those that were seen before",
    "first": "no digests are pinned yet: the chain from the tag was verified, and is kept as seen",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What belongs together and has one folder in the cache."""

    name: str
    version: str
    content: table.Table

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def place(self, cache: Path, wanted: table.Platform) -> Path:
        """The folder of this release for a platform."""
        return cache / "releases" / f"{self.name}-{self.version}-{wanted.key}"


@dataclasses.dataclass(frozen=True, slots=True)
class Downloader:
    """Gets releases into a cache, from the sources that can be reached."""

    client: transfer.Client
    cache: Path
    found: sources.Sources

    def get(self, release: Release, wanted: table.Platform) -> Path:
        """The folder of a release, downloaded unless it is there.

        Raises UnavailableError with all reasons if it is not to be had, and IntegrityError if what
        came, or what is kept, is not what it has to be.
        """
        if there := kept(release, self.cache, wanted):
            return there
        place = release.place(self.cache, wanted)
        if not self.found.sources:
            raise UnavailableError(", ".join(self.found.passed_over))
        with obtain.cache_errors(self.cache):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = locks.held(
                place.with_name(f"{place.name}.lock"),
                waiting=f"another process is downloading {release.name}; waiting for it",
            )
            with lock:
                if not place.is_dir():
                    self._download(release, wanted, place)
        return place

    def _download(self, release: Release, wanted: table.Platform, place: Path) -> None:
        with progress.Progress(f"downloading {release}", hint=f"once, for {wanted}") as shown:
            obtained = obtain.Obtainer(
                client=self.client,
                sources=self.found.sources,
                cache=self.cache,
                downloads=self.cache / "downloads" / place.name,
                wanted=wanted,
                report=shown.received,
            ).bundle(release.content, place)
        passed_over = (*self.found.passed_over, *obtained.passed_over)
        _say(
            f"{release} is from {', '.join(_hosts(obtained.provenance))}"
            f" ({'; '.join((*passed_over, _trust(obtained.provenance)))})"
        )


@contextlib.contextmanager
def opened(cache: Path, content: table.Table) -> Iterator[Downloader]:
    """A downloader for what `content` names, once it is known which sources can be reached."""
    with contextlib.closing(transfer.Client()) as client:
        yield Downloader(client, cache, sources.reachable(client, content))


def kept(release: Release, cache: Path, wanted: table.Platform) -> Path | None:
    """The folder of a release, if the cache has it; None if it has not.

    A pin may be younger than what is kept. What contradicts it may have been run already, so it is
    not exchanged without a word: that raises IntegrityError, as does a folder that does not say how
    its content came, or a program that was changed since. Compared with pins are the digests that
    were recorded then: to read all programs, which `verify` does, would cost every start a second
    or more.
    """
    place = release.place(cache, wanted)
    if not place.is_dir():
        return None
    came = _came(place)
    try:
        for program in release.content.programs.values():
            _compare_with_pins(program, came[program.name].digests, program.pinned(wanted), wanted)
        for file in release.content.files.values():
            pins = table.Digests(program=file.sha256)
            _compare_with_pins(file, came[file.name].digests, pins, wanted)
    except KeyError as error:
        raise _damaged(place, f"nothing about {error.args[0]}") from error
    except IntegrityError as error:
        raise IntegrityError(
            f"{error}. It was kept before that was pinned, and may have been run since. To have it "
            f"fetched anew remove {place}, and what {cache / seen.FILE_NAME} says of it"
        ) from error
    intact.check(place)
    return place


def versions(name: str, cache: Path, wanted: table.Platform) -> list[str]:
    """Of which versions the cache has a release for a platform."""
    before, after = f"{name}-", f"-{wanted.key}"
    found = (cache / "releases").glob(f"{before}v*{after}")
    return sorted(place.name.removeprefix(before).removesuffix(after) for place in found)


def _compare_with_pins(
    item: table.Program | table.File,
    found: table.Digests,
    pins: table.Digests,
    wanted: table.Platform,
) -> None:
    what = f"{item.name} {item.version} for {wanted}"
    seen.compare(what, found, wanted=pins, by="releases.toml")


def _came(place: Path) -> dict[str, obtain.Provenance]:
    """What a folder says of how its content came, by name; IntegrityError if it does not."""
    try:
        return {provenance.name: provenance for provenance in obtain.read(place)}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(place, str(error)) from error


def _damaged(place: Path, reason: str) -> IntegrityError:
    return IntegrityError(
        f"{place} does not say how it came ({reason}). Remove it to have it fetched anew"
    )


def verify(release: Release, cache: Path, wanted: table.Platform) -> list[str]:
    """Compare everything in the folder of a release with the table and with what was seen.

    Returns a line for each program and file. Raises IntegrityError for the first that is another
    one, and UnavailableError if the folder is not there.
    """
    place = release.place(cache, wanted)
    if not place.is_dir():
        raise UnavailableError(
            f"{release} for {wanted} was never downloaded to {cache}. "
            "`lws-kueue sandbox fetch` downloads it"
        )
    came = _came(place)
    known = seen.Seen(cache)
    lines = []
    for program in release.content.programs.values():
        path = place / program.name
        found = _found(came, program, path)
        layers.check_machine(path, wanted.architecture)
        lines.append(_verified(program, found, program.pinned(wanted), known, wanted))
    for file in release.content.files.values():
        found = _found(came, file, place / file.name / file.file_name)
        pins = table.Digests(program=file.sha256)
        lines.append(_verified(file, found, pins, known, wanted))
    return lines


def _found(
    came: dict[str, obtain.Provenance], item: table.Program | table.File, path: Path
) -> table.Digests:
    """The digests of something in the cache: those that it came with, and that of what is there."""
    if item.name not in came or not path.is_file():
        raise IntegrityError(f"{path} is missing")
    return dataclasses.replace(came[item.name].digests, program=registry.sha256_of(path))


def _verified(
    item: table.Program | table.File,
    found: table.Digests,
    pins: table.Digests,
    known: seen.Seen,
    wanted: table.Platform,
) -> str:
    what = f"{item.name} {item.version}"
    before = known.of(what, wanted)
    seen.compare(what, found, wanted=pins, by="releases.toml")
    seen.compare(what, found, wanted=before, by="what was seen before")
    by = "pinned" if pins.program else "seen before" if before.program else "nothing"
    return f"{what}: {found.program} (compared with: {by})"


def _hosts(provenance: tuple[obtain.Provenance, ...]) -> list[str]:
    names = (
        urllib.parse.urlsplit(p.source).netloc or p.source.partition("/")[0] for p in provenance
    )
    return list(dict.fromkeys(names))


def _trust(provenance: tuple[obtain.Provenance, ...]) -> str:
    """The weakest of what stands behind the parts."""
    there = {p.trust for p in provenance}
    return next(text for trust, text in reversed(_TRUST.items()) if trust in there)


def _say(text: str) -> None:
    print(f"[sandbox] {text}", file=sys.stderr, flush=True)
