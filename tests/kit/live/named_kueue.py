"""One Kueue for all tests of a run: a released one is named as if the environment had named it.

Tests ask the environment whether Kueue is a real one. Without this they would take a released one,
which `auto` finds by itself, for the stand-in.
"""

import contextlib
import os
from collections.abc import MutableMapping

from lws_kueue_lab.sandbox import kueue_manager
from lws_kueue_lab.sandbox.releases.errors import UnavailableError


def name_released(environment: MutableMapping[str, str] = os.environ) -> None:
    """Name a released Kueue in the environment, which workers inherit, unless one is named.

    Nothing is named where none is to be had. Raises SandboxError for half a name, and
    IntegrityError for a Kueue that is another one.
    """
    if kueue_manager.from_environment(environment) is not None:
        return
    with contextlib.suppress(UnavailableError):
        source = kueue_manager.released()
        environment[kueue_manager.BINARY_VARIABLE] = str(source.binary)
        environment[kueue_manager.MANIFESTS_VARIABLE] = str(source.manifests)
