"""Images as a registry holds them: an index, and for each architecture a manifest and layers."""

import dataclasses
import gzip
import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

_ELF_MACHINES = {"amd64": 62, "arm64": 183}


def program(text: str = "", *, architecture: str = "amd64") -> bytes:
    """What looks like a program for Linux; nobody runs it."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, _ELF_MACHINES[architecture])
    return head + text.encode()


def member(name: str, content: bytes = b"", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """An entry of a layer; `attributes` make it a link or a device."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o755
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A layer, compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclasses.dataclass(slots=True)
class Repository:
    """One repository of a registry: manifests by digest or tag, and blobs by digest."""

    manifests: dict[str, tuple[str, bytes]] = dataclasses.field(default_factory=dict)
    blobs: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Add a blob; returns its descriptor."""
        self.blobs[digest(content)] = content
        return {"mediaType": media_type, "digest": digest(content), "size": len(content)}

    def manifest(self, document: dict[str, Any], tag: str = "") -> dict[str, Any]:
        """Add a manifest or an index; returns its descriptor."""
        content = json.dumps(document).encode()
        stored = (str(document["mediaType"]), content)
        self.manifests[digest(content)] = stored
        if tag:
            self.manifests[tag] = stored
        return {"mediaType": stored[0], "digest": digest(content), "size": len(content)}


OCI = "application/vnd.oci.image."
BASE = layer(member("etc/", type=tarfile.DIRTYPE), member("etc/os-release", b"NAME=nothing\n"))


def image(
    tag: str,
    path: str,
    make: Callable[[str], Sequence[tuple[tarfile.TarInfo, bytes]]] | None = None,
    *,
    architectures: Sequence[str] = ("amd64", "arm64"),
) -> Repository:
    """An image with a program at `path`: a base, the program, and something above it.

    `make` gives the members of the program's layer for an architecture.
    """
    made = Repository()
    entries = []
    for architecture in architectures:
        members = (
            make(architecture) if make else [member(path, program(path, architecture=architecture))]
        )
        above = layer(member("etc/motd", b"hello\n"))
        entry = _manifest(made, architecture, [BASE, layer(*members), above], path)
        entries.append(entry | {"platform": {"os": "linux", "architecture": architecture}})
    made.manifest(
        {"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json", "manifests": entries}, tag
    )
    return made


def _manifest(
    made: Repository, architecture: str, layers: Sequence[bytes], path: str
) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    history = [
        {"created_by": "base"},
        {"created_by": "ENV nothing", "empty_layer": True},
        {"created_by": f"COPY {name} {path}"},
        {"created_by": "RUN something"},
    ]
    config = {"os": "linux", "architecture": architecture, "history": history}
    return made.manifest(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": made.blob(json.dumps(config).encode(), f"{OCI}config.v1+json"),
            "layers": [made.blob(each, f"{OCI}layer.v1.tar+gzip") for each in layers],
        }
    )


def artefact(tag: str, content: bytes) -> Repository:
    """A file as a registry holds it."""
    made = Repository()
    made.manifest(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": made.blob(b"{}", "application/vnd.oci.empty.v1+json"),
            "layers": [made.blob(content, "application/yaml")],
        },
        tag,
    )
    return made
