"""The table of releases as values: `releases.toml`, read and written."""

import dataclasses
import functools
import json
import platform
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

TABLE: Final = Path(__file__).parent / "releases.toml"

#: What `platform.machine` says, in the words of images.
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Platform:
    """What a program runs on, in the words of images: `linux`, `amd64`."""

    system: str
    architecture: str

    def __str__(self) -> str:
        return f"{self.system}/{self.architecture}"

    @property
    def key(self) -> str:
        """As a name of a folder and of an entry of the table."""
        return f"{self.system}-{self.architecture}"


def platform_of(system: str, machine: str | None = None) -> Platform:
    """From what `platform.system` and `platform.machine` say; without the latter, this machine."""
    found = (machine or platform.machine()).lower()
    return Platform(system.lower(), _ARCHITECTURES.get(found, found))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """What the bytes of a program or file have to be, or were; `sha256:...`, empty if unknown.

    `index` is that of the image, `layer` that of the compressed layer and `program` that of the
    program, or of the file, itself.
    """

    index: str = ""
    layer: str = ""
    program: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program of a published image: `path` inside it, and what its digests have to be."""

    name: str
    version: str
    registry: str
    repository: str
    path: str
    index: str = ""
    pins: Mapping[str, Digests] = dataclasses.field(default_factory=dict)

    def pinned(self, wanted: Platform) -> Digests:
        """The digests that the table demands for a platform."""
        found = self.pins.get(wanted.key, Digests())
        return dataclasses.replace(found, index=self.index)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a release, the same for all platforms; a mirror has it as an artefact."""

    name: str
    version: str
    url: str
    repository: str
    sha256: str = ""

    @property
    def file_name(self) -> str:
        """What it is called where it is published."""
        return self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All programs and files, by name."""

    programs: Mapping[str, Program]
    files: Mapping[str, File]


@functools.cache
def known() -> Table:
    """The table of this distribution; read once."""
    return load(TABLE)


def load(path: Path) -> Table:
    """Read a table."""
    content = tomllib.loads(path.read_text())
    programs = {name: _program(name, entry) for name, entry in content["programs"].items()}
    files = {name: File(name=name, **entry) for name, entry in content.get("files", {}).items()}
    return Table(programs=programs, files=files)


def _program(name: str, entry: Mapping[str, Any]) -> Program:
    plain = {key: value for key, value in entry.items() if isinstance(value, str)}
    pins = {key: Digests(**value) for key, value in entry.items() if isinstance(value, dict)}
    return Program(name=name, pins=pins, **plain)


def of_version(table: Table, version: str) -> Table:
    """The table for another version of what is in it: without pins, which are of one version."""
    return Table(
        programs={
            name: program
            if program.version == version
            else dataclasses.replace(program, version=version, index="", pins={})
            for name, program in table.programs.items()
        },
        files={
            name: file
            if file.version == version
            else dataclasses.replace(file, version=version, sha256="")
            for name, file in table.files.items()
        },
    )


def only(table: Table, *names: str) -> Table:
    """The part of a table that these names make up."""
    return Table(
        programs={name: program for name, program in table.programs.items() if name in names},
        files={name: file for name, file in table.files.items() if name in names},
    )


def render(table: Table, *, head: str) -> str:
    """The text of a table, below the comment `head`; `load` reads the same from it."""
    sections = [head.rstrip("\n")]
    for name, program in table.programs.items():
        lines = [f"[programs.{name}]"]
        for field in ("version", "registry", "repository", "path", "index"):
            lines.append(f"{field} = {json.dumps(getattr(program, field))}")
        for key, pins in program.pins.items():
            found = f"layer = {json.dumps(pins.layer)}, program = {json.dumps(pins.program)}"
            lines.append(f"{key} = {{ {found} }}")
        sections.append("\n".join(lines))
    for name, file in table.files.items():
        lines = [f"[files.{name}]"]
        for field in ("version", "url", "repository", "sha256"):
            lines.append(f"{field} = {json.dumps(getattr(file, field))}")
        sections.append("\n".join(lines))
    return "\n\n".join(sections) + "\n"
