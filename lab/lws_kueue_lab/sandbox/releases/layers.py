"""Taking one program out of a layer, which is an archive that others have made.

Nothing is written under a name that the archive says: the one file that is wanted goes where the
caller says, and everything else is only read past.
"""

import gzip
import io
import posixpath
import struct
import tarfile
import zlib
from pathlib import Path
from typing import IO, Final

from lws_kueue.api import printable
from lws_kueue_lab.sandbox.releases.errors import IntegrityError, UnavailableError

#: The most that a layer may hold unpacked, in bytes, and in members.
UNPACKED_LIMIT: Final = 768 << 20
_MEMBERS_LIMIT: Final = 100_000
_CHUNK: Final = 1 << 20

#: A ValueError comes of a sparse map that is none, a RecursionError of headers without a file.
_NO_ARCHIVE: Final = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    gzip.BadGzipFile,
    ValueError,
    RecursionError,
)

#: What the header of a program says about the machine that it is for.
_ELF_MACHINES: Final = {"amd64": 62, "arm64": 183, "ppc64le": 21, "s390x": 22}


def extract(layer: Path, path: str, into: Path) -> bool:
    """Write the file `path` of a layer to `into`; False if the layer does not have it.

    Raises IntegrityError for an archive that holds it as anything but a plain file, or twice, that
    leads out of itself, or that is too large when it is unpacked; UnavailableError for
    a compression that is not known here.
    """
    found = False
    try:
        with (
            _unpacked(layer) as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive,
        ):
            for number, member in enumerate(archive):
                if number >= _MEMBERS_LIMIT:
                    raise IntegrityError(f"{layer.name} holds more than {_MEMBERS_LIMIT} files")
                if _inside(layer, member) != path:
                    continue
                if found or not member.isreg() or member.issparse() or member.size > UNPACKED_LIMIT:
                    kind = "there twice" if found else "no plain file"
                    raise IntegrityError(f"{path} is {kind} in {layer.name}")
                _copy(archive.extractfile(member), into)
                found = True
    except _NO_ARCHIVE as error:
        told = printable.brief(str(error))
        raise IntegrityError(f"{layer.name} is no archive: {told}") from error
    return found


def check_machine(program: Path, architecture: str) -> None:
    """Raise IntegrityError if a file is no program for Linux on this architecture."""
    with program.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise IntegrityError(f"{program.name} is no program for Linux")
    (machine,) = struct.unpack("<H" if head[5] == 1 else ">H", head[18:20])
    if machine != _ELF_MACHINES.get(architecture):
        raise IntegrityError(
            f"{program.name} is for another machine than {architecture} (ELF machine {machine})"
        )


def _inside(layer: Path, member: tarfile.TarInfo) -> str:
    """The place of a member in the image, without the ways of writing it."""
    if ".." in member.name.split("/"):
        told = printable.brief(repr(member.name))
        raise IntegrityError(f"{layer.name} holds {told}, which leads out of it")
    return posixpath.normpath(member.name).lstrip("/")


def _copy(source: IO[bytes] | None, into: Path) -> None:
    assert source is not None  # It is a plain file.
    with source, into.open("wb") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)


def _unpacked(layer: Path) -> "_Limited":
    with layer.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return _Limited(gzip.open(layer, "rb"), layer.name)
    if magic == b"\x28\xb5\x2f\xfd":
        raise UnavailableError(f"{layer.name} is compressed with zstd, which is not read here")
    return _Limited(layer.open("rb"), layer.name)


class _Limited(io.RawIOBase):
    """A stream that ends with an error where a bomb would go on."""

    def __init__(self, source: IO[bytes] | gzip.GzipFile, name: str) -> None:
        self._source = source
        self._name = name
        self._left = UNPACKED_LIMIT

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        content = self._source.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise IntegrityError(f"{self._name} is larger than allowed when it is unpacked")
        return content

    def close(self) -> None:
        self._source.close()
        super().close()
