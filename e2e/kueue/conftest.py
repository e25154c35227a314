"""Fixtures of the bridge's whole-system tests: the flavor's nodes, and a queue for each test."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from tests.kit.kueue import places
from tests.kit.kueue.queued import ON_DEMAND, PREEMPTION
from tests.kit.live import harness
from tests.kit.lws.sample import Object

# Of eight; the others show that the flavor's label reaches the pods.
LABELLED_NODES = 6

Keep = Callable[[Object], Object]


@pytest.fixture(scope="session")
def on_demand(cluster: sandbox.Sandbox) -> Iterator[None]:
    """Some nodes have the label that the flavor of the rows asks for, others have not."""
    found = sorted(node["metadata"]["name"] for node in cluster.api.list("v1", "Node"))
    _label_nodes(cluster, found[:LABELLED_NODES], dict(ON_DEMAND))
    yield
    _label_nodes(cluster, found[:LABELLED_NODES], dict.fromkeys(ON_DEMAND))


def _label_nodes(
    cluster: sandbox.Sandbox, nodes: list[str], labels: dict[str, str] | dict[str, None]
) -> None:
    for name in nodes:
        cluster.api.patch("v1", "Node", name, body={"metadata": {"labels": labels}})


@pytest.fixture
def queue(installed: sandbox.Sandbox, on_demand: None, namespace: str) -> str:
    """The queue of the rows (kueue-contract 5.8): 5 cpu on nodes on demand, and preemption."""
    return harness.queues(
        installed,
        namespace=namespace,
        cpu="5",
        flavor_spec={"nodeLabels": ON_DEMAND},
        preemption=PREEMPTION,
    )


@pytest.fixture
def place(shared_place: places.Place) -> Iterator[places.Place]:
    """The cluster that a file has for itself, which it names by its fixture ``shared_place``."""
    yield shared_place
    print(shared_place.controller.tail(200))  # Shown by pytest only when the test failed.


@pytest.fixture
def room(place: places.Place, request: pytest.FixtureRequest) -> str:
    """A namespace in the place's own cluster."""
    return places.room(place, request)


@pytest.fixture
def keep(installed: sandbox.Sandbox) -> Iterator[Keep]:
    """Apply objects of the whole cluster that go with the test."""
    kept: list[Object] = []

    def apply(obj: Object) -> Object:
        kept.append(obj)
        return installed.api.apply(obj)

    yield apply
    for obj in reversed(kept):
        with contextlib.suppress(client.ApiError):
            installed.api.delete(
                obj["apiVersion"], obj["kind"], obj["metadata"]["name"], missing_ok=True
            )
