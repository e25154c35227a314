"""Every edit of the corpus on a real control plane: Workloads kept or renewed, and nothing else."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import client

from lws_kueue.api import names, quantity
from tests.kit.kueue import fleet
from tests.kit.live import harness, selection
from tests.kit.lws import sets
from tests.kit.lws.sample import Object
from tests.kit.tables import edits
from tests.kit.tables.edits import Edit

PLAYED = [edit for edit in edits.EDITS if edit.played]
# One of each kind; tests/workload goes through all of them without a cluster.
FEW = {
    *("image", "container-becomes-a-sidecar", "replicas-up", "cpu-up-with-surge-groups"),
    *("size-down", "leader-template-added", "topology-asked-for"),
}
# For requests that only the cluster knows there is more quota than the edit's own arithmetic says.
SPARE_GROUPS = 2

SELECTOR = {"type": "kwok"}


def objects(namespace: str) -> list[Object]:
    """What the edits name: classes, an account, defaults, flavors and a topology."""
    scheduling, kueue = "scheduling.k8s.io/v1", names.KUEUE_API_VERSION
    of_flavors: list[tuple[str, Object]] = [
        (f"{namespace}-spot", {"nodeTaints": [dict(edits.SPOT_TAINT)]}),
        (f"{namespace}-placed", {"nodeLabels": SELECTOR, "topologyName": namespace}),
    ]
    levels = [{"nodeLabel": label} for label in (edits.BLOCK, edits.RACK, "kubernetes.io/hostname")]
    return [
        *(
            {"apiVersion": scheduling, "kind": "PriorityClass", "value": value}
            | {"metadata": {"name": name}}
            for name, value in edits.POD_CLASSES.items()
        ),
        {"apiVersion": kueue, "kind": "WorkloadPriorityClass", "value": 5}
        | {"metadata": {"name": edits.WORKLOAD_CLASS}},
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "heavy"}
        | {"metadata": {"name": edits.RUNTIME_CLASS}, "overhead": {"podFixed": edits.OVERHEAD}},
        {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "light"}
        | {"metadata": {"name": edits.LIGHT_CLASS}},
        {"apiVersion": kueue, "kind": "Topology", "spec": {"levels": levels}}
        | {"metadata": {"name": namespace}},
        *(
            {"apiVersion": kueue, "kind": "ResourceFlavor", "spec": spec}
            | {"metadata": {"name": name}}
            for name, spec in of_flavors
        ),
        {"apiVersion": "v1", "kind": "ServiceAccount"}
        | {"metadata": {"name": edits.SERVICE_ACCOUNT, "namespace": namespace}},
        {"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [edits.CONTAINER_DEFAULTS]}}
        | {"metadata": {"name": "defaults", "namespace": namespace}},
    ]


@contextlib.contextmanager
def surroundings(cluster: sandbox.Sandbox, namespace: str) -> Iterator[None]:
    """Make what the edits name, and give the nodes what they ask for."""
    made = objects(namespace)
    for obj in made:
        cluster.api.apply(obj)
    for node in cluster.api.list("v1", "Node"):
        name = node["metadata"]["name"]
        cluster.api.patch(
            "v1", "Node", name, body={"metadata": {"labels": {edits.EMPTY_LABEL: ""}}}
        )
        room = {"capacity": {edits.GPU: "32"}, "allocatable": {edits.GPU: "32"}}
        cluster.api.patch("v1", "Node", name, body={"status": room}, subresource="status")
    yield
    for obj in made:
        if "namespace" not in obj["metadata"]:
            with contextlib.suppress(client.ApiError):
                cluster.api.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"])


def member(edit: Edit, *, namespace: str, knows_all: bool) -> fleet.Member:
    """Return the set of an edit; the stand-in does not know what only the cluster does."""
    placed = [f"{namespace}-placed"] if edit.topology else [namespace, f"{namespace}-spot"]
    return fleet.Member(
        edit.name,
        edit.old,
        edit.change,
        unavailable=1,
        headroom=SPARE_GROUPS if edit.completed else 0,
        flavors=placed,
        accounted=knows_all or not edit.completed,
    )


@pytest.fixture(scope="module")
def outcome(
    installed: sandbox.Sandbox,
    kueue_info: sandbox.KueueInfo,
    shared_controller: harness.ControllerProcess,
    request: pytest.FixtureRequest,
) -> Iterator[fleet.Outcome]:
    """All edits at once, each of a set in a queue of its own, without a spare place in it."""
    if not shared_controller.running:
        shared_controller.start()
    with (
        sets.namespaced(installed, "edits") as namespace,
        surroundings(installed, namespace),
    ):
        members = [
            member(edit, namespace=namespace, knows_all=kueue_info.kind != "standin")
            for edit in selection.values(request, "edit")
        ]
        yield fleet.play(installed, members, namespace=namespace)


def named(some: Sequence[Edit]) -> pytest.MarkDecorator:
    return selection.parametrize("edit", some, few=FEW, name=lambda edit: edit.name)


def common(outcome: fleet.Outcome, edit: Edit) -> tuple[dict[str, str], dict[str, str]]:
    """Return the Workloads of the groups that were there before and are there after the edit."""
    before, after = outcome.before[edit.name], outcome.after[edit.name]
    both = before.keys() & after.keys()
    assert both, "no group was there before and after"
    return {i: before[i] for i in both}, {i: after[i] for i in both}


@named([edit for edit in PLAYED if not edit.renewed])
def test_an_edit_that_kueue_never_sees_keeps_every_workload(
    outcome: fleet.Outcome, edit: Edit
) -> None:
    before, after = common(outcome, edit)
    assert after == before


@named([edit for edit in PLAYED if edit.renewed])
def test_an_edit_of_what_was_admitted_renews_every_workload(
    outcome: fleet.Outcome, edit: Edit
) -> None:
    before, after = common(outcome, edit)
    assert not set(before.values()) & set(after.values())


@named(PLAYED)
def test_the_edit_ends_with_every_group_ready_as_it_says(
    outcome: fleet.Outcome, edit: Edit
) -> None:
    assert edit.name not in outcome.refused, outcome.refused[edit.name]
    assert edit.name in outcome.ended, (
        f"not ended: {sorted(set(outcome.before) - {*outcome.ended})}"
    )
    spec = edit.new["spec"]
    group = spec["leaderWorkerTemplate"]
    expected = {
        f"{edit.name}-{index}" + (f"-{rank}" if rank else ""): group[
            "workerTemplate" if rank or "leaderTemplate" not in group else "leaderTemplate"
        ]
        for index in range(spec["replicas"])
        for rank in range(group["size"])
    }
    pods = outcome.pods[edit.name]
    assert sorted(pods) == sorted(expected)
    for name, template in expected.items():
        assert harness.is_ready(pods[name])
        assert contents(pods[name]["spec"]) == contents(template["spec"]), name
    assert sorted(outcome.after[edit.name]) == [str(i) for i in range(spec["replicas"])]


def contents(spec: Object) -> list[tuple[str, str, Mapping[str, int]]]:
    """Return name, image and requests of all containers; what the cluster adds is left out."""
    return [
        (one["name"], one["image"], _asked(one))
        for one in (*(spec.get("initContainers") or ()), *spec["containers"])
    ]


# What the LimitRange puts in the place of requests that are missing.
DEFAULTED = quantity.parse_all(edits.DEFAULT_REQUESTS)


def _asked(container: Object) -> Mapping[str, int]:
    resources = container.get("resources") or {}
    given = quantity.parse_all({**resources.get("limits", {}), **resources.get("requests", {})})
    return DEFAULTED | given


@named(PLAYED)
def test_no_more_than_one_group_is_down_at_any_time(outcome: fleet.Outcome, edit: Edit) -> None:
    fewest = outcome.books[edit.name].fewest
    # Some edits move no pod: how a set rolls, or how many groups there are.
    assert fewest is None or fewest >= 1


@named(PLAYED)
def test_no_pod_runs_but_on_an_admission_for_what_it_requests(
    outcome: fleet.Outcome, edit: Edit
) -> None:
    book = outcome.books[edit.name]
    assert book.released >= len(outcome.pods[edit.name])
    assert not book.violations, "\n".join(book.violations)


@selection.EACH_TIME
def test_usage_never_exceeds_nominal_quota(outcome: fleet.Outcome, which: str) -> None:
    assert outcome.overdrawn == []
