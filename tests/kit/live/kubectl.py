"""The sandbox's own kubectl, as a person uses it."""

import os
import subprocess
from collections.abc import Mapping

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries


def kubectl(
    cluster: sandbox.Sandbox, *arguments: str, environment: Mapping[str, str] | None = None
) -> str:
    """Run it against a cluster and return what it printed; its errors fail the test."""
    done = _run(cluster, *arguments, environment=environment)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def refused(cluster: sandbox.Sandbox, *arguments: str) -> str:
    """Run it against a cluster, where it has to fail, and return how it says why."""
    done = _run(cluster, *arguments, environment=None)
    assert done.returncode != 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stderr


def _run(
    cluster: sandbox.Sandbox, *arguments: str, environment: Mapping[str, str] | None
) -> "subprocess.CompletedProcess[str]":
    command = [
        str(binaries.ensure()["kubectl"]),
        f"--kubeconfig={cluster.kubeconfig}",
        # What kubectl learns of the cluster goes with the cluster.
        f"--cache-dir={cluster.directory}/kubectl",
        *arguments,
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
