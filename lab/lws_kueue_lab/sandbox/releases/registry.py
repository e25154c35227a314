"""Reading an image or an artefact of a registry: from a tag to the layers, by their digests.

The OCI distribution protocol, of which reading is a small part. Whatever is named by a digest has
to have it; what the tag leads to is as good as the connection, unless its digest is known before.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from lws_kueue.api import printable
from lws_kueue_lab.sandbox.releases import table, transfer
from lws_kueue_lab.sandbox.releases.errors import IntegrityError, UnavailableError

_MANIFEST_LIMIT: Final = 4 << 20
_BLOB_LIMIT: Final = 512 << 20
_INDICES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """A tag of a repository; `registry` is a URL without a path."""

    registry: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry.partition('://')[2]}/{self.repository}:{self.tag}"

    def url(self, kind: str, name: str) -> str:
        """The address of a manifest or a blob."""
        return f"{self.registry}/v2/{self.repository}/{kind}/{name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """One blob of an image, and what made it, if the image says that."""

    digest: str
    size: int
    made_by: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """What a tag leads to; `index` is the digest of what the tag itself names."""

    reference: Reference
    index: str
    layers: tuple[Layer, ...]


def image(
    client: transfer.Client, reference: Reference, wanted: table.Platform, *, index: str = ""
) -> Image:
    """The image of a tag for a platform, from its index down.

    Raises UnavailableError if there is none for the platform, and IntegrityError if the tag does
    not lead to the digest `index`, or anything not to what names it.
    """
    digest, document = _tagged(client, reference, index=index)
    with _malformed(reference):
        if document.get("mediaType") in _INDICES or "manifests" in document:
            entry = _entry(reference, document, wanted)
            document = _parsed(reference, _by_digest(client, reference, "manifests", entry))
        config = _parsed(reference, _by_digest(client, reference, "blobs", document["config"]))
        made_for = table.Platform(str(config.get("os")), str(config.get("architecture")))
        if made_for != wanted:
            there = printable.brief(str(made_for))
            raise UnavailableError(f"{reference} is for {there}, and {wanted} is wanted")
        return Image(reference, digest, _layers(reference, document, config))


def artefact(client: transfer.Client, reference: Reference, *, index: str = "") -> Image:
    """An artefact that is no image: its layers are files as they are."""
    digest, document = _tagged(client, reference, index=index)
    with _malformed(reference):
        return Image(reference, digest, _layers(reference, document, {}))


def download(
    client: transfer.Client, found: Image, layer: Layer, into: Path, report: transfer.Report
) -> None:
    """Write a layer into a file, which has its digest afterwards."""
    client.download(
        found.reference.url("blobs", layer.digest),
        into,
        digest=layer.digest,
        size=layer.size,
        limit=_BLOB_LIMIT,
        report=report,
    )


def _tagged(
    client: transfer.Client, reference: Reference, *, index: str
) -> tuple[str, dict[str, Any]]:
    url = reference.url("manifests", reference.tag)
    accept = ", ".join((*_INDICES, *_MANIFESTS))
    body, headers = client.read(url, limit=_MANIFEST_LIMIT, accept=accept)
    digest = sha256(body)
    said = headers.get("Docker-Content-Digest", digest)
    for wanted in filter(None, (said, index)):
        if digest != wanted:
            told = printable.brief(wanted)
            raise IntegrityError(f"{reference} has the digest {digest}, and {told} is wanted")
    return digest, _parsed(reference, body)


def _by_digest(
    client: transfer.Client, reference: Reference, kind: str, descriptor: dict[str, Any]
) -> bytes:
    digest = _digest(reference, descriptor)
    accept = ", ".join(_MANIFESTS) if kind == "manifests" else "*/*"
    body, _ = client.read(reference.url(kind, digest), limit=_MANIFEST_LIMIT, accept=accept)
    if sha256(body) != digest:
        raise IntegrityError(f"{reference}: {digest} is wanted, and {sha256(body)} came")
    return body


def _entry(
    reference: Reference, document: dict[str, Any], wanted: table.Platform
) -> dict[str, Any]:
    offered = []
    for entry in document.get("manifests", ()):
        there = entry.get("platform") or {}
        made_for = table.Platform(str(there.get("os")), str(there.get("architecture")))
        if made_for == wanted:
            return dict(entry)
        offered.append(str(made_for))
    raise UnavailableError(
        f"{reference} is not made for {wanted}, "
        f"only for {printable.brief(', '.join(offered)) or 'nothing'}"
    )


def _layers(
    reference: Reference, document: dict[str, Any], config: dict[str, Any]
) -> tuple[Layer, ...]:
    history = [h for h in config.get("history") or () if not h.get("empty_layer")]
    made_by = [str(h.get("created_by", "")) for h in history]
    descriptors = document.get("layers") or ()
    if len(made_by) != len(descriptors):
        made_by = [""] * len(descriptors)
    return tuple(
        Layer(_digest(reference, descriptor), int(descriptor["size"]), made)
        for descriptor, made in zip(descriptors, made_by, strict=True)
    )


def _digest(reference: Reference, descriptor: dict[str, Any]) -> str:
    """The digest of a descriptor; it becomes a part of paths, so it has to be one."""
    digest = str(descriptor.get("digest"))
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        told = printable.brief(repr(digest))
        raise IntegrityError(f"{reference} names {told}, which is no digest of SHA-256")
    return digest


@contextlib.contextmanager
def _malformed(reference: Reference) -> Iterator[None]:
    """Say of a document that is not made as the protocol has it that it is of no use."""
    try:
        yield
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        told = printable.brief(repr(error))
        raise UnavailableError(f"{reference}: the answer is no manifest ({told})") from error


def _parsed(reference: Reference, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnavailableError(f"{reference}: the answer is no JSON") from error
    if not isinstance(document, dict):
        raise UnavailableError(f"{reference}: the answer is no manifest")
    return document


def sha256(content: bytes) -> str:
    """The digest of some bytes, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def sha256_of(path: Path) -> str:
    """The digest of a file, as registries write it."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
