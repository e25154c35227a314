"""A cluster for tests of more than one controller process: nothing else writes there."""

from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness


@pytest.fixture(scope="package")
def quiet_cluster(cluster: sandbox.Sandbox, backend: sandbox.Backend) -> Iterator[sandbox.Sandbox]:
    """A cluster with the API installed and no controller.

    The shared cluster is asked for first: where none can be had, that one says why.
    """
    if backend == "kubeconfig":
        pytest.skip("a second controller must not run in a cluster that may have one")
    with sandbox.open(backend, options=sandbox.Options(nodes=2)) as own:
        harness.install(own)
        yield own
