"""A kind goes and comes back while the controller runs: it is seen again within seconds.

So it is when somebody uninstalls Kueue, or this API, and installs it again. The periodic list would
find everything in the end; it comes after five minutes, and no test waits for so long.
"""

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client
from lws_kueue_lab.sandbox.kueue_settings import KueueSettings

from lws_kueue.api import names
from tests.kit import polling
from tests.kit.kueue import places, queued
from tests.kit.kueue.places import Place
from tests.kit.live import harness
from tests.kit.lws.sample import LWS, Object

DEFINITION = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
PRIORITY = (names.KUEUE_API_VERSION, "WorkloadPriorityClass")


@pytest.fixture(scope="module")
def shared_place(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    if backend == "kubeconfig":
        pytest.skip("takes definitions away that others may need")
    folder = tmp_path_factory.mktemp("definitions")
    with places.opening(backend, folder=folder, mode="auto") as place:
        place.kueue(KueueSettings())
        yield place


def make_anew(cluster: sandbox.Sandbox, name: str, *, kind: tuple[str, str]) -> None:
    """Delete a definition with all objects of its kind, and apply it again."""
    found = cluster.api.get(*DEFINITION, name)
    cluster.api.delete(*DEFINITION, name)
    cluster.api.wait_for(*DEFINITION, name, lambda seen: seen is None, timeout=60, what="it goes")
    kept = {key: found["metadata"].get(key, {}) for key in ("annotations", "labels")}
    cluster.api.create({**found, "metadata": {"name": name, **kept}, "status": {}})
    polling.eventually(is_served, cluster, kind)


def is_served(cluster: sandbox.Sandbox, kind: tuple[str, str]) -> None:
    """A kind is served a moment after its definition was accepted, and asks for patience before.

    Its policies take longer: until they know the kind again, no object of it can be created.
    """
    try:
        cluster.api.list(*kind)
        if kind == LWS:
            probe = harness.leader_worker_set("probe", namespace="default")
            cluster.api.create(probe, dry_run=True)
    except client.ApiError as error:
        raise AssertionError(kind) from error


def scaled(one: queued.Queued) -> None:
    """The policies for changes may take longer to know a kind again than those for new objects."""
    try:
        one.scale(2)
    except client.ApiError as error:
        if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        raise AssertionError(one.name) from error


def priority(name: str, value: int) -> Object:
    head = {"apiVersion": PRIORITY[0], "kind": PRIORITY[1]}
    return {**head, "metadata": {"name": name}, "value": value}


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        pytest.param(f"workloadpriorityclasses.{names.KUEUE_GROUP}", PRIORITY, id="kueue"),
        pytest.param(f"{names.LWS_PLURAL}.{LWS[0].partition('/')[0]}", LWS, id="sets"),
    ],
)
def test_a_definition_that_is_made_anew_is_watched_again_and_so_is_everything_else(
    place: Place, room: str, definition: str, kind: tuple[str, str]
) -> None:
    cluster = place.cluster
    queue = harness.queues(cluster, namespace=room, cpu="5")
    before = queued.create(cluster, namespace=room, queue=queue, name="before")
    before.wait_ready(1)

    make_anew(cluster, definition, kind=kind)

    cluster.api.create(priority(room, 7))
    after = queued.create(cluster, namespace=room, queue=queue, name="after", priority_class=room)
    after.wait_ready(1)
    assert after.workload(0)["spec"]["priority"] == 7
    # Another object of each kind, that only a watch can tell of so soon.
    cluster.api.patch(*PRIORITY, room, body={"value": 8})
    after.wait_workload(0, lambda seen: seen["spec"]["priority"] == 8, what="has the new value")
    polling.eventually(scaled, after)
    after.wait_ready(2)
    gone = after.uids_of(0)
    after.delete_pod(next(iter(gone)))
    after.wait_pods(
        0,
        lambda seen: (
            len(seen) == len(gone)
            and all(map(harness.is_ready, seen.values()))
            and not {pod["metadata"]["uid"] for pod in seen.values()} & set(gone.values())
        ),
        what="are replaced, and run",
    )
