"""A registry's content with everything that the table names, under the names that it gives."""

import functools
import tarfile
from collections.abc import Mapping

from lws_kueue_lab.sandbox.releases import table

from tests.kit.releases import images

MANIFESTS = b"kind: Namespace\n"


def everything(
    programs: Mapping[str, bytes] | None = None, *, manifests: bytes = MANIFESTS
) -> dict[str, images.Repository]:
    """Images of all programs of `releases.toml`, and the manifests of Kueue as an artefact.

    `programs` are the contents for this machine by name; without them each is a few bytes long.
    """
    known = table.known()
    here = table.platform_of("Linux").architecture
    made = {}
    for name, program in known.programs.items():
        if programs is None:
            made[program.repository] = images.image(program.version, program.path)
            continue
        content = images.member(program.path, programs[name])
        made[program.repository] = images.image(
            program.version, program.path, functools.partial(_only, content), architectures=[here]
        )
    for file in known.files.values():
        made[file.repository] = images.artefact(file.version, manifests)
    return made


def _only(
    content: tuple[tarfile.TarInfo, bytes], architecture: str
) -> list[tuple[tarfile.TarInfo, bytes]]:
    del architecture  # There is but one.
    return [content]
