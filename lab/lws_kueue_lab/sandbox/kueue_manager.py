"""A real Kueue manager as a child process of the sandbox: what is particular to Kueue's.

It is the one that the environment names, or the program out of a published image with the manifests
of the same release.

It keeps its own certificate management on, because without it the metrics certificate is
looked up under a fixed path below /etc. It accepts a certificate that is already in its
Secret, so the one that `manager` makes serves, and nothing has to be mounted.
"""

import contextlib
import functools
import os
import platform
import re
from collections.abc import Mapping
from typing import Final

from lws_kueue.api import names
from lws_kueue_lab.sandbox import binaries, cluster, downloads, kueue_settings, manager
from lws_kueue_lab.sandbox.releases import table

BINARY_VARIABLE: Final = "LWS_KUEUE_KUEUE_BIN"
MANIFESTS_VARIABLE: Final = "LWS_KUEUE_KUEUE_MANIFESTS"

#: Where people see which versions there are.
RELEASES: Final = "https://github.com/kubernetes-sigs/kueue/releases"

_VARIABLES: Final = manager.Variables(binary=BINARY_VARIABLE, manifests=MANIFESTS_VARIABLE)
_PROGRAM: Final = "kueue"
_MANIFESTS: Final = "kueue-manifests"
_VERSION: Final = re.compile(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?")
_PROBE: Final = {
    "apiVersion": names.KUEUE_API_VERSION,
    "kind": "ResourceFlavor",
    "metadata": {"name": "sandbox-probe"},
}


def from_environment(environment: Mapping[str, str] = os.environ) -> manager.Source | None:
    """Find the Kueue that the environment names, if any; SandboxError if it names half of one."""
    return manager.from_environment(_VARIABLES, environment)


def release(version: str = "") -> downloads.Release:
    """What is published of a version of Kueue; without one, of the version in `releases.toml`.

    Raises SandboxError for what is no version.
    """
    known = table.only(table.known(), _PROGRAM, _MANIFESTS)
    version = version or known.programs[_PROGRAM].version
    if not is_version(version):
        raise cluster.SandboxError(f"{version} is no version of Kueue, such as v0.19.2")
    content = table.of_version(known, version)
    return downloads.Release(name=_PROGRAM, version=version, content=content)


def is_version(text: str) -> bool:
    """Whether a text is a version as Kueue tags them."""
    return _VERSION.fullmatch(text) is not None


def released(version: str = "") -> manager.Source:
    """The manager of a release, out of the cache or downloaded; see `release` for the version.

    Raises UnavailableError if it is not to be had, and IntegrityError if what came, or is kept, is
    not what it has to be.
    """
    wanted = release(version)
    target = table.platform_of(platform.system())
    cache = binaries.cache_directory()
    place = downloads.kept(wanted, cache, target)
    if place is None:
        with downloads.opened(cache, wanted.content) as downloader:
            place = downloader.get(wanted, target)
    return manager.Source(binary=place / _PROGRAM, manifests=place / _MANIFESTS)


def kept_versions() -> list[str]:
    """The versions of which the cache has a manager for this machine."""
    target = table.platform_of(platform.system())
    return downloads.versions(_PROGRAM, binaries.cache_directory(), target)


def run(
    sandbox: cluster.Sandbox, *, source: manager.Source, settings: kueue_settings.KueueSettings
) -> contextlib.AbstractContextManager[str]:
    """Run a manager against `sandbox` while the context is open, which gives its version."""
    program = manager.Program(
        name="kueue",
        variables=_VARIABLES,
        definition="workloads.kueue.x-k8s.io",
        authority="kueue-ca",
        webhook_secret="kueue-webhook-server-cert",  # noqa: S106 (a name, not a secret)
        configuration=functools.partial(kueue_settings.configuration, settings),
        probe=_PROBE,
    )
    return manager.run(sandbox, source=source, program=program)
