"""Runs a command against a throw-away cluster: `python -m tools.in_sandbox COMMAND...`.

The command finds the cluster in KUBECONFIG and a `kubectl` of the same version in PATH. Its exit
status is passed on.
"""

import os
import subprocess
import sys

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries


def main(command: list[str]) -> int:
    """Run ``command`` and return its exit status."""
    if not command:
        print("usage: python -m tools.in_sandbox COMMAND...", file=sys.stderr)
        return 2
    directory = binaries.ensure()["kubectl"].parent
    with sandbox.open(options=sandbox.Options(nodes=0, audit_log=False)) as cluster:
        environment = os.environ | {
            "KUBECONFIG": str(cluster.kubeconfig),
            "KUBECACHEDIR": str(cluster.directory / "kubectl"),
            "PATH": f"{directory}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
