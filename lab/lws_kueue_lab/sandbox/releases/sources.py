"""Where releases may be asked for: a mirror that the environment names, then the publishers.

`LWS_KUEUE_MIRROR` is a registry, with a path before its repositories if need be: a proxy of the
official ones, or what was copied from them with digests and names as they are.
`LWS_KUEUE_DOWNLOAD=never` has nothing asked at all.
"""

import dataclasses
import os
import urllib.parse
from collections.abc import Mapping
from typing import Final

from lws_kueue_lab.sandbox import cluster
from lws_kueue_lab.sandbox.releases import registry, table, transfer
from lws_kueue_lab.sandbox.releases.errors import UnavailableError

MIRROR_VARIABLE: Final = "LWS_KUEUE_MIRROR"
DOWNLOAD_VARIABLE: Final = "LWS_KUEUE_DOWNLOAD"


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One place; without a `mirror`, the one that the table names for each program and file.

    `mirror` is the URL of a registry, without a path; `prefix` is what its repositories begin with.
    """

    name: str
    mirror: str = ""
    prefix: str = ""

    def image(self, program: table.Program) -> registry.Reference:
        """Where this source has the image of a program."""
        if self.mirror:
            return self._mirrored(program.repository, program.version)
        return registry.Reference(program.registry, program.repository, program.version)

    def artefact(self, file: table.File) -> registry.Reference | None:
        """Where this source has a file as an artefact; None if it has it under its URL."""
        return self._mirrored(file.repository, file.version) if self.mirror else None

    def host(self, wanted: table.Program | table.File) -> str:
        """The first URL that is asked for something."""
        if self.mirror:
            return self.mirror
        return wanted.registry if isinstance(wanted, table.Program) else wanted.url

    def _mirrored(self, repository: str, version: str) -> registry.Reference:
        return registry.Reference(self.mirror, self.prefix + repository, version)


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """The sources in order, and why those that are missing were passed over."""

    sources: tuple[Source, ...]
    passed_over: tuple[str, ...]


def reachable(
    client: transfer.Client, wanted: table.Table, environment: Mapping[str, str] = os.environ
) -> Sources:
    """The sources that can be connected to, in order; decided by one connection to each.

    Raises SandboxError for a setting that means nothing.
    """
    if refused(environment):
        return Sources((), (f"{DOWNLOAD_VARIABLE}=never",))
    items: list[table.Program | table.File] = [
        *wanted.programs.values(),
        *wanted.files.values(),
    ]
    found, passed_over = [], []
    mirror = _mirror(environment)
    if mirror is None:
        passed_over.append("no mirror is set")
    for source in (mirror, Source("official")):
        if source is None:
            continue
        url = source.host(items[0])
        if reason := client.reach(url):
            name = urllib.parse.urlsplit(url).netloc
            passed_over.append(f"{name} cannot be reached ({reason})")
        else:
            found.append(source)
    return Sources(tuple(found), tuple(passed_over))


def refused(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment wants nothing downloaded."""
    setting = environment.get(DOWNLOAD_VARIABLE, "")
    if setting not in ("", "auto", "never"):
        raise cluster.SandboxError(f"{DOWNLOAD_VARIABLE} is auto or never, not {setting!r}")
    return setting == "never"


def _mirror(environment: Mapping[str, str]) -> Source | None:
    setting = environment.get(MIRROR_VARIABLE, "").rstrip("/")
    if not setting:
        return None
    url = setting if "://" in setting else f"https://{setting}"
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise cluster.SandboxError(
            f"{MIRROR_VARIABLE} holds credentials, which belong into ~/.netrc"
        )
    try:
        parts = urllib.parse.urlsplit(url)
        transfer.require_tls(url)
    except (ValueError, UnavailableError) as error:
        raise cluster.SandboxError(
            f"{MIRROR_VARIABLE}={setting} is no mirror: HOST[:PORT][/PREFIX] over HTTPS, or "
            "http:// on this machine"
        ) from error
    if parts.query or parts.fragment:
        # It may be a secret, so it is not told.
        raise cluster.SandboxError(
            f"{MIRROR_VARIABLE} has a query or a fragment, and is HOST[:PORT][/PREFIX]"
        )
    prefix = parts.path.strip("/")
    return Source("mirror", f"{parts.scheme}://{parts.netloc}", f"{prefix}/" if prefix else "")
