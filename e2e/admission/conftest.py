"""Fixtures of the admission tests: the API installed, and nothing that reconciles it."""

from collections.abc import Iterator

import pytest

from e2e.admission import support
from lws_kueue.api import names
from lws_kueue.sandbox import Sandbox, client

UNGUARDED_GROUP = "unguarded.lws-kueue.dev"


@pytest.fixture(scope="session")
def installed(cluster: Sandbox) -> client.Client:
    """The API server with the definition and all policies active."""
    for obj in support.api_objects():
        cluster.api.apply(obj, field_manager="lws-kueue-install")
    support.wait_for_kind(cluster.api, names.LWS_API_VERSION)
    support.wait_until_policies_are_active(cluster.api)
    return cluster.api


@pytest.fixture(scope="session")
def _unguarded(cluster: Sandbox) -> Iterator[str]:
    """The same definition under another group, which no policy matches.

    It shows what the definition's own rules do, and takes features that are not served yet.
    """
    (definition,) = (
        obj for obj in support.api_objects() if obj["kind"] == "CustomResourceDefinition"
    )
    definition["metadata"]["name"] = f"{names.LWS_PLURAL}.{UNGUARDED_GROUP}"
    definition["spec"]["group"] = UNGUARDED_GROUP
    definition["spec"]["names"]["shortNames"] = []
    api_version = f"{UNGUARDED_GROUP}/{names.LWS_VERSION}"
    cluster.api.apply(definition)
    support.wait_for_kind(cluster.api, api_version)
    yield api_version
    cluster.api.delete(definition["apiVersion"], definition["kind"], definition["metadata"]["name"])


@pytest.fixture
def sets(installed: client.Client, namespace: str) -> support.Sets:
    """LeaderWorkerSets, with every policy."""
    return support.Sets(installed, namespace)


@pytest.fixture
def unguarded(cluster: Sandbox, _unguarded: str, namespace: str) -> support.Sets:
    """LeaderWorkerSets judged by the definition alone."""
    return support.Sets(cluster.api, namespace, _unguarded)


@pytest.fixture
def pods(installed: client.Client, namespace: str) -> "support.Pods":
    """Pods of a LeaderWorkerSet."""
    return support.Pods(installed, namespace)
