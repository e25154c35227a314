"""Opening a sandbox: the back end, and then the Kueue that serves it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lws_kueue_lab.sandbox import cluster, engine, existing, kueue, process


@contextlib.contextmanager
def open(
    backend: cluster.Backend = "process",
    *,
    options: cluster.Options | None = None,
    kubeconfig: Path | None = None,
) -> Iterator[cluster.Sandbox]:
    """Start a sandbox, or use the cluster of `kubeconfig`, for as long as the context is open.

    Raises `SandboxError` when it cannot be made ready.
    """
    chosen = options or cluster.Options()
    if backend != "kubeconfig":  # That cluster may have a Kueue of its own.
        kueue.have(chosen.kueue, backend=backend)
    with (
        _open_backend(backend, chosen, kubeconfig) as sandbox,
        kueue.start(sandbox, mode=chosen.kueue) as sandbox.kueue,
    ):
        yield sandbox


def _open_backend(
    backend: cluster.Backend, options: cluster.Options, kubeconfig: Path | None
) -> contextlib.AbstractContextManager[cluster.Sandbox]:
    if backend == "kubeconfig":
        if kubeconfig is None:
            raise cluster.SandboxError("the kubeconfig back end needs a kubeconfig")
        return existing.open_existing(options, kubeconfig=kubeconfig)
    if kubeconfig is not None:
        raise cluster.SandboxError(f"the {backend} back end makes its own kubeconfig")
    if backend == "container":
        # Its libraries are optional, so it is imported only where they are.
        if trouble := engine.problem():
            raise cluster.SandboxError(f"no container back end: {trouble}")
        from lws_kueue_lab.sandbox import container

        return container.open_container(options)
    return process.open_process(options)
