"""Fixtures of the admission tests: the API installed, and nothing that reconciles it."""

from collections.abc import Iterator

import pytest
from lws_kueue_lab.sandbox import Backend, Sandbox, client

from e2e.conftest import namespace_of
from lws_kueue.api import names
from tests.kit.admission import support
from tests.kit.live import harness


@pytest.fixture(scope="session")
def installed(cluster: Sandbox) -> client.Client:
    """The API server with the definition and all policies active."""
    for obj in support.api_objects():
        cluster.api.apply(obj, field_manager="lws-kueue-install")
    support.wait_for_kind(cluster.api, names.LWS_API_VERSION)
    support.wait_until_policies_are_active(cluster.api)
    return cluster.api


@pytest.fixture
def sets(
    request: pytest.FixtureRequest, installed: client.Client, cluster: Sandbox, backend: Backend
) -> Iterator[support.Sets]:
    """LeaderWorkerSets, with every policy, in a namespace that belongs to the test."""
    kept = backend != "kubeconfig"
    with harness.own_namespace(cluster, namespace_of(request), kept=kept) as name:
        yield support.Sets(installed, name)


@pytest.fixture(scope="session")
def _namespace_of_dry_runs(installed: client.Client) -> str:
    """A namespace whose pods Kueue's webhooks leave as the project's policies have made them."""
    name = "kueue-system"
    installed.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    # Pods are refused until their service account exists.
    installed.wait_for(
        "v1", "ServiceAccount", "default", lambda found: found is not None, namespace=name
    )
    return name


@pytest.fixture
def pods(installed: client.Client, _namespace_of_dry_runs: str) -> support.Pods:
    """Pods of a LeaderWorkerSet, for dry runs: nothing is stored, so the namespace is shared."""
    return support.Pods(installed, _namespace_of_dry_runs)


@pytest.fixture
def own_pods(installed: client.Client, namespace: str) -> support.Pods:
    """Pods of a LeaderWorkerSet in a namespace that belongs to the test."""
    return support.Pods(installed, namespace)
