"""Fixtures of the admission tests: the API installed, and nothing that reconciles it."""

import pytest

from e2e.admission import support
from lws_kueue.api import names
from lws_kueue.sandbox import Sandbox, client


@pytest.fixture(scope="session")
def installed(cluster: Sandbox) -> client.Client:
    """The API server with the definition and all policies active."""
    for obj in support.api_objects():
        cluster.api.apply(obj, field_manager="lws-kueue-install")
    support.wait_for_kind(cluster.api, names.LWS_API_VERSION)
    support.wait_until_policies_are_active(cluster.api)
    return cluster.api


@pytest.fixture
def sets(installed: client.Client, namespace: str) -> support.Sets:
    """LeaderWorkerSets, with every policy."""
    return support.Sets(installed, namespace)


@pytest.fixture
def pods(installed: client.Client, namespace: str) -> "support.Pods":
    """Pods of a LeaderWorkerSet."""
    return support.Pods(installed, namespace)
