"""Fixtures of the tests on several clusters: a manager and two workers."""

import re
from collections.abc import Iterator

import pytest
from lws_kueue_lab import sandbox

from tests.kit.kueue import clusters


@pytest.fixture(scope="package")
def shared_clusters(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.Clusters]:
    """A manager and two workers, which all tests of this folder share."""
    if backend != "process":
        pytest.skip("needs three clusters, and a Kueue in each that can be restarted")
    folder = tmp_path_factory.mktemp("multikueue")
    with clusters.opening(backend, folder=folder, mode="auto") as opened:
        yield opened


@pytest.fixture
def fleet(shared_clusters: clusters.Clusters) -> Iterator[clusters.Clusters]:
    """The manager and its workers; what their controllers said is shown if the test fails."""
    yield shared_clusters
    for place in shared_clusters.every:
        if place.controller.log.exists():
            print(place.controller.tail(60))


@pytest.fixture
def room(fleet: clusters.Clusters, request: pytest.FixtureRequest) -> str:
    """A namespace that all clusters have."""
    return fleet.room(re.sub(r"[^a-z]+", "-", str(request.node.name))[5:30].strip("-"))
