"""A real Kueue manager as a child process of the sandbox: what is particular to Kueue's.

It keeps its own certificate management on, because without it the metrics certificate is
looked up under a fixed path below /etc. It accepts a certificate that is already in its
Secret, so the one that `manager` makes serves, and nothing has to be mounted.
"""

import contextlib
import functools
import os
from collections.abc import Mapping
from typing import Final

from lws_kueue.api import names
from lws_kueue_lab.sandbox import cluster, kueue_settings, manager

BINARY_VARIABLE: Final = "LWS_KUEUE_KUEUE_BIN"
MANIFESTS_VARIABLE: Final = "LWS_KUEUE_KUEUE_MANIFESTS"

_VARIABLES: Final = manager.Variables(binary=BINARY_VARIABLE, manifests=MANIFESTS_VARIABLE)
_PROBE: Final = {
    "apiVersion": names.KUEUE_API_VERSION,
    "kind": "ResourceFlavor",
    "metadata": {"name": "sandbox-probe"},
}


def from_environment(environment: Mapping[str, str] = os.environ) -> manager.Source | None:
    """Find the Kueue that the environment names, if any; SandboxError if it names half of one."""
    return manager.from_environment(_VARIABLES, environment)


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
