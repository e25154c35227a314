"""The LeaderWorkerSet manager of the LWS project as a child process of the sandbox.

Tests of taking over sets need what that manager made of them. The project knows one only by
two environment variables, as it does Kueue's (`kueue_manager`); there is no stand-in.
"""

import contextlib
import os
from collections.abc import Mapping
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab.sandbox import cluster, manager

BINARY_VARIABLE: Final = "LWS_KUEUE_LWS_BIN"
MANIFESTS_VARIABLE: Final = "LWS_KUEUE_LWS_MANIFESTS"

_VARIABLES: Final = manager.Variables(binary=BINARY_VARIABLE, manifests=MANIFESTS_VARIABLE)

_PROBE: Final = {
    "apiVersion": names.LWS_API_VERSION,
    "kind": names.LWS_KIND,
    "metadata": {"name": "sandbox-probe", "namespace": "default"},
    "spec": {
        "leaderWorkerTemplate": {
            "workerTemplate": {"spec": {"containers": [{"name": "c", "image": "image"}]}}
        }
    },
}


def from_environment(environment: Mapping[str, str] = os.environ) -> manager.Source | None:
    """Find the manager that the environment names, if any; SandboxError if it names half of one."""
    return manager.from_environment(_VARIABLES, environment)


def run(
    sandbox: cluster.Sandbox, *, source: manager.Source
) -> contextlib.AbstractContextManager[str]:
    """Run a manager against `sandbox` while the context is open, which gives its version."""
    program = manager.Program(
        name="lws",
        variables=_VARIABLES,
        definition=f"{names.LWS_PLURAL}.{names.LWS_GROUP}",
        authority="lws-ca",
        webhook_secret="lws-webhook-server-cert",  # noqa: S106 (a name, not a secret)
        configuration=configuration,
        probe=_PROBE,
    )
    return manager.run(sandbox, source=source, program=program)


def configuration(endpoints: manager.Endpoints) -> dict[str, Any]:
    """Make the content of the manager's configuration file (lws-contract 9.2)."""
    return {
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{endpoints.health_port}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {
            "host": "127.0.0.1",
            "port": endpoints.webhook_port,
            "certDir": str(endpoints.certificate_directory),
        },
        "leaderElection": {"leaderElect": False},
        # The certificate is in the directory, and nobody has to rotate it.
        "internalCertManagement": {"enable": False},
    }
