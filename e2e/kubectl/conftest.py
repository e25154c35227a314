"""The command as a process of its own, and somebody who may read and nothing else."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from lws_kueue.kubectl import reading
from tests.kit.live import harness

USER = ("kubectl-lws", "viewer")

Object = dict[str, Any]


@pytest.fixture(scope="module")
def viewer(installed: sandbox.Sandbox) -> Iterator[Path]:
    """A kubeconfig of somebody with the ClusterRole for people, and nothing else."""
    with viewing(installed) as kubeconfig:
        yield kubeconfig


@contextlib.contextmanager
def viewing(cluster: sandbox.Sandbox) -> Iterator[Path]:
    """Make somebody with the ClusterRole for people, and nothing else; gives the kubeconfig."""
    namespace, name = USER
    harness.make_namespace(cluster, namespace)
    rbac = "rbac.authorization.k8s.io"
    made = (
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace},
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "kubectl-lws-viewer"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": reading.ROLE},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    )
    for obj in made:
        cluster.api.apply(obj)
    yield cluster.service_account_kubeconfig(namespace, name)
    cluster.api.delete(f"{rbac}/v1", "ClusterRoleBinding", "kubectl-lws-viewer")
    cluster.api.delete("v1", "Namespace", namespace)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, what it wrote, and how many seconds it took."""

    status: int
    out: str
    err: str
    seconds: float


def run(kubeconfig: Path | str, *arguments: str, namespace: str) -> Ran:
    """Run a command of kubectl-lws in a process of its own."""
    command = [sys.executable, "-m", "lws_kueue.kubectl.command", *arguments]
    given = ["--kubeconfig", str(kubeconfig), "-n", namespace]
    begun = time.monotonic()
    done = subprocess.run([*command, *given], capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


def said(kubeconfig: Path | str, *arguments: str, namespace: str) -> str:
    """Run a command that ends well and has nothing to complain of; returns what it says."""
    done = run(kubeconfig, *arguments, namespace=namespace)
    assert (done.status, done.err) == (0, ""), done.out + done.err
    return done.out


def explained(kubeconfig: Path | str, name: str, *, namespace: str) -> tuple[Object, Ran]:
    """Ask why groups of a set do not run; returns the first explanation, {} if all run."""
    done = run(kubeconfig, "explain", name, "-o", "json", namespace=namespace)
    assert done.status == 0, done.out + done.err
    (first, *_) = json.loads(done.out).get("explanations") or [{}]
    return dict(first), done
