"""From a source into the cache: programs and files that belong together, or none of them.

They come into a folder beside the final one, which takes its name when it is whole, under the lock
of the caller. What was downloaded of a layer stays for the next try when a run is killed; it is
known by its digest, so nothing of it can be taken for something else.
"""

import contextlib
import dataclasses
import errno
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from lws_kueue_lab.sandbox import cluster
from lws_kueue_lab.sandbox.releases import layers, registry, seen, table, transfer
from lws_kueue_lab.sandbox.releases.errors import IntegrityError, UnavailableError
from lws_kueue_lab.sandbox.releases.sources import Source

Trust = Literal["pinned", "seen", "first"]

PROVENANCE: Final = "provenance.json"
_FILE_LIMIT: Final = 64 << 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a program or file came from, its digests, and what they were compared with.

    `trust` is `pinned` if the table names them all, `seen` if they were kept before, else `first`.
    """

    name: str
    version: str
    source: str
    trust: Trust
    digests: table.Digests


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """What a folder of the cache holds, and why sources were passed over on the way."""

    provenance: tuple[Provenance, ...]
    passed_over: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Obtainer:
    """Gets things for one platform into one cache, over one client, from the given sources.

    `downloads` is where layers lie meanwhile, a folder that nobody else uses at the same time.
    """

    client: transfer.Client
    sources: Sequence[Source]
    cache: Path
    downloads: Path
    wanted: table.Platform
    report: transfer.Report

    def bundle(self, wanted: table.Table, place: Path) -> Obtained:
        """Make the folder `place` with everything that `wanted` names.

        A program lies there under its name, a file in a folder with its name. Raises
        UnavailableError, with what each source said, if something is nowhere to be had, and
        IntegrityError as soon as something is not what it has to be.
        """
        if not self.sources:
            raise UnavailableError("there is no source")
        if self.wanted.system != "linux":
            raise UnavailableError(f"nothing is published for {self.wanted}")
        with cache_errors(self.cache):
            place.parent.mkdir(parents=True, exist_ok=True)
            sweep(place)
            partial = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
            try:
                return self._fill(wanted, partial, place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _fill(self, wanted: table.Table, partial: Path, place: Path) -> Obtained:
        passed_over: list[str] = []
        found: list[Provenance] = []
        for program in wanted.programs.values():
            get = functools.partial(self._program, program, partial)
            found.append(self._first(get, passed_over))
        for file in wanted.files.values():
            get = functools.partial(self._file, file, partial)
            found.append(self._first(get, passed_over))
        content = [dataclasses.asdict(provenance) for provenance in found]
        (partial / PROVENANCE).write_text(json.dumps(content, indent=2) + "\n")
        partial.chmod(0o755)
        # Only what has arrived whole counts as seen; and nothing is used that was not kept as seen.
        known = seen.Seen(self.cache)
        for provenance in found:
            what = f"{provenance.name} {provenance.version}"
            known.keep(what, self.wanted, provenance.digests)
        partial.rename(place)
        return Obtained(provenance=tuple(found), passed_over=tuple(dict.fromkeys(passed_over)))

    def _first(self, get: Callable[[Source], Provenance], passed_over: list[str]) -> Provenance:
        """What the first source that has it gives."""
        refusals = []
        for source in self.sources:
            try:
                found = get(source)
            except UnavailableError as error:
                refusals.append(str(error))
                continue
            passed_over += refusals
            return found
        raise UnavailableError("; ".join(refusals))

    def _program(self, program: table.Program, into: Path, source: Source) -> Provenance:
        reference = source.image(program)
        pins = program.pinned(self.wanted)
        image = registry.image(self.client, reference, self.wanted, index=pins.index)
        before = self._before(program)
        self._compare(program, table.Digests(index=image.index), pins)
        target = into / program.name
        layer = self._unpack(program, image, pins, target)
        layers.check_machine(target, self.wanted.architecture)
        digests = table.Digests(
            index=image.index, layer=layer.digest, program=registry.sha256_of(target)
        )
        self._compare(program, digests, pins)
        target.chmod(0o755)
        return Provenance(
            name=program.name,
            version=program.version,
            source=str(reference),
            trust=_trust(all(dataclasses.astuple(pins)), before),
            digests=digests,
        )

    def _unpack(
        self, program: table.Program, image: registry.Image, pins: table.Digests, target: Path
    ) -> registry.Layer:
        """Find the layer with the program: from the top, but first where it seems to be added."""
        for layer in _order(program, image, pins):
            with self._downloaded(image, layer) as archive:
                if layers.extract(archive, program.path, target):
                    return layer
        if pins.layer:
            raise IntegrityError(
                f"{image.reference} has no {program.path} in the pinned layer {pins.layer}"
            )
        raise UnavailableError(f"{image.reference} has no {program.path}")

    @contextlib.contextmanager
    def _downloaded(self, image: registry.Image, layer: registry.Layer) -> Iterator[Path]:
        self.downloads.mkdir(parents=True, exist_ok=True)
        archive = self.downloads / layer.digest.replace(":", "-")
        try:
            registry.download(self.client, image, layer, archive, self.report)
        except OSError:
            # The disk may be full: give back what this took.
            archive.unlink(missing_ok=True)
            raise
        try:
            yield archive
        finally:
            archive.unlink(missing_ok=True)

    def _file(self, file: table.File, into: Path, source: Source) -> Provenance:
        folder = into / file.name
        folder.mkdir(exist_ok=True)
        target = folder / file.file_name
        pins = table.Digests(program=file.sha256)
        before = self._before(file)
        reference = source.artefact(file)
        if reference is None:
            url = file.url.format(version=file.version)
            came_from = url
            digests = table.Digests(program=self._plain(url, target))
        else:
            came_from = str(reference)
            digests = table.Digests(program=self._artefact(reference, target))
        self._compare(file, digests, pins)
        return Provenance(
            name=file.name,
            version=file.version,
            source=came_from,
            trust=_trust(bool(file.sha256), before),
            digests=digests,
        )

    def _plain(self, url: str, target: Path) -> str:
        target.unlink(missing_ok=True)
        return self.client.download(
            url, target, digest="", size=None, limit=_FILE_LIMIT, report=self.report
        )

    def _artefact(self, reference: registry.Reference, target: Path) -> str:
        found = registry.artefact(self.client, reference)
        if len(found.layers) != 1:
            raise UnavailableError(f"{reference} has {len(found.layers)} layers instead of one")
        target.unlink(missing_ok=True)
        registry.download(self.client, found, found.layers[0], target, self.report)
        return found.layers[0].digest

    def _before(self, item: table.Program | table.File) -> table.Digests:
        return seen.Seen(self.cache).of(f"{item.name} {item.version}", self.wanted)

    def _compare(
        self, item: table.Program | table.File, found: table.Digests, pins: table.Digests
    ) -> None:
        what = f"{item.name} {item.version} for {self.wanted}"
        seen.compare(what, found, wanted=pins, by="releases.toml")
        seen.compare(what, found, wanted=self._before(item), by="what was seen before")


def _trust(pinned: bool, before: table.Digests) -> Trust:
    if pinned:
        return "pinned"
    return "seen" if before.program else "first"


def read(place: Path) -> tuple[Provenance, ...]:
    """What a folder of the cache says about itself."""
    content = json.loads((place / PROVENANCE).read_text())
    return tuple(
        Provenance(**{**entry, "digests": table.Digests(**entry["digests"])}) for entry in content
    )


def sweep(place: Path) -> None:
    """Remove what killed runs left beside `place`; the caller holds its lock."""
    for leftover in place.parent.glob(f".{place.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Say of a cache that cannot be written what is to be done about it."""
    try:
        yield
    except OSError as error:
        remedy = (
            "make room there" if error.errno == errno.ENOSPC else "make it writable"
        ) + ", or set LWS_KUEUE_CACHE to another place"
        raise cluster.ToolchainError(
            f"the cache {cache} cannot be written: {error.strerror or error}; {remedy}"
        ) from error


def _order(
    program: table.Program, image: registry.Image, pins: table.Digests
) -> list[registry.Layer]:
    from_the_top = list(reversed(image.layers))
    if pins.layer:
        return [layer for layer in from_the_top if layer.digest == pins.layer]
    name = program.path.rpartition("/")[2]
    return sorted(from_the_top, key=lambda layer: name not in layer.made_by)
