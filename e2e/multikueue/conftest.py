"""Fixtures of the tests on several clusters: a manager and two workers."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from e2e.kueue.conftest import keep
from tests.kit.kueue import clusters

__all__ = ["keep"]


@pytest.fixture(scope="module")
def shared_clusters(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[clusters.Clusters]:
    """A manager and two workers, which all tests of a file share."""
    with opening(backend, tmp_path_factory, mode="auto", audit_log=True) as opened:
        yield opened


@contextlib.contextmanager
def opening(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory, **options: Any
) -> Iterator[clusters.Clusters]:
    """Open a manager and its workers, or skip where that is not possible."""
    if backend != "process":
        pytest.skip("needs several clusters, whose API servers and Kueues can be stopped")
    folder = tmp_path_factory.mktemp("multikueue")
    with clusters.opening(backend, folder=folder, **options) as opened:
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
