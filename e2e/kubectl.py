"""The sandbox's own kubectl, as a person uses it."""

import subprocess

from lws_kueue import sandbox
from lws_kueue.sandbox import binaries


def kubectl(cluster: sandbox.Sandbox, *arguments: str) -> str:
    """Run it against a cluster and return what it printed; its errors fail the test."""
    command = [
        str(binaries.ensure()["kubectl"]),
        f"--kubeconfig={cluster.kubeconfig}",
        # What kubectl learns of the cluster goes with the cluster.
        f"--cache-dir={cluster.directory}/kubectl",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout
