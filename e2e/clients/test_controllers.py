"""Operators and GitOps controllers as clients: server-side apply and full replacement by others."""

import copy
from typing import Any

import pytest
from lws_kueue_lab import sandbox

from e2e.clients.conftest import Serve
from lws_kueue.api import names
from tests.kit.live import harness, running
from tests.kit.live.running import NAME, NEW_IMAGE, Running

ARGO = "argocd-controller"
OPERATOR = "kserve-controller"


def partial(given: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """As much of a set as somebody owns who manages these fields alone."""
    meta = {"name": NAME, "namespace": given["metadata"]["namespace"]}
    return {
        "apiVersion": given["apiVersion"],
        "kind": given["kind"],
        "metadata": meta,
        "spec": spec,
    }


def owner_of_replicas(obj: dict[str, Any]) -> set[str]:
    return {
        entry["manager"]
        for entry in obj["metadata"]["managedFields"]
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    }


@pytest.mark.row("GIT-15")
def test_the_same_set_applied_by_another_manager_goes_on(served: Running) -> None:
    served.apply(served.given, manager=ARGO)
    served.goes_on()
    before = running.writes_of(served.cluster, served.namespace)
    served.apply(served.given, manager=ARGO)
    served.goes_on()
    assert running.writes_of(served.cluster, served.namespace) == before


@pytest.mark.row("GIT-16")
def test_another_managers_value_is_a_conflict_that_names_the_field(served: Running) -> None:
    with pytest.raises(running.ApiError) as caught:
        served.apply(partial(served.given, replicas=3), manager=ARGO)
    assert caught.value.status == 409
    assert ".spec.replicas" in str(caught.value.body)
    served.goes_on()
    served.apply(partial(served.given, replicas=3), manager=ARGO, force=True)
    served.goes_on(groups=3)


@pytest.mark.long
@pytest.mark.row("GIT-17")
def test_fields_that_a_manager_gives_up_go_back_to_their_defaults(served: Running) -> None:
    budget = {"rollingUpdateConfiguration": {"maxUnavailable": 2, "maxSurge": 1}}
    # Whoever made the set owns what the server filled in as well.
    changed = served.apply(partial(served.given, rolloutStrategy=budget), manager=ARGO, force=True)
    assert changed["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]["maxSurge"] == 1
    served.goes_on()
    given_up = partial(served.given)
    del given_up["spec"]
    served.apply(given_up, manager=ARGO)
    served.goes_on()
    configuration = served.get()["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]
    assert (configuration["maxUnavailable"], configuration["maxSurge"]) == (1, 0)


@pytest.mark.row("GIT-18")
def test_an_autoscaler_keeps_its_replicas_beside_a_manifest_without_them(serve: Serve) -> None:
    served = serve()
    manifest = copy.deepcopy(served.given)
    del manifest["spec"]["replicas"]
    served.apply(manifest, manager=ARGO, force=True)
    harness.scale(served.cluster, NAME, namespace=served.namespace, replicas=3)
    served.goes_on(groups=3)
    served.apply(manifest, manager=ARGO, force=True)
    served.goes_on(groups=3)
    assert ARGO not in owner_of_replicas(served.get())


@pytest.mark.long
@pytest.mark.row("GIT-19")
def test_a_replacement_by_the_manifest_alone_goes_on(served: Running) -> None:
    generation = served.get()["metadata"]["generation"]
    served.replace(served.given)
    served.goes_on()
    assert served.get()["metadata"]["generation"] == generation


@pytest.mark.long
@pytest.mark.row("GIT-20")
def test_an_operator_that_writes_all_it_has_read_disturbs_nothing(served: Running) -> None:
    before = running.writes_of(served.cluster, served.namespace)
    for _ in range(5):
        served.edit(lambda read: None)
    served.goes_on()
    assert running.writes_of(served.cluster, served.namespace) == before


@pytest.mark.long
@pytest.mark.row("GIT-21")
def test_a_replacement_with_an_old_version_is_a_conflict(served: Running) -> None:
    read = served.get()
    harness.scale(served.cluster, NAME, namespace=served.namespace, replicas=3)
    with pytest.raises(running.ApiError) as caught:
        served.cluster.api.replace(read)
    assert caught.value.status == 409
    served.goes_on(groups=3)


@pytest.mark.long
@pytest.mark.row("GIT-22", "P3")
def test_a_set_in_the_default_queue_rolls_when_an_operator_replaces_it(
    installed: sandbox.Sandbox,
    controller: harness.ControllerProcess,
    namespace: str,
    tmp_path: Any,
) -> None:
    assert controller.running
    queue = harness.queues(installed, namespace=namespace, cpu="4", name="default")
    given = running.manifest(namespace, queue=None)
    served = running.Running(installed, namespace=namespace, folder=tmp_path, given=given)
    # Whether it came by default or by name makes no difference later, and this needs no policy.
    labels = given["metadata"]["labels"] | {names.QUEUE_NAME: queue}
    installed.api.create({**given, "metadata": {**given["metadata"], "labels": labels}})
    served.runs()
    template = given["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    template["spec"]["containers"][0]["image"] = NEW_IMAGE
    stored = served.replace(given)
    assert stored["metadata"]["labels"][names.QUEUE_NAME] == queue
    served.rolls_to(NEW_IMAGE)
    assert served.warnings() == []


@pytest.mark.row("GIT-23")
def test_a_set_that_an_operator_owns_goes_with_its_owner(served: Running) -> None:
    owner = served.cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "service", "namespace": served.namespace},
        }
    )
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "service",
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    served.edit(lambda read: read["metadata"].update(ownerReferences=[reference]))
    served.goes_on()
    served.cluster.api.delete("v1", "ConfigMap", "service", namespace=served.namespace)
    harness.wait_pods(
        served.cluster, lambda pods: not pods, namespace=served.namespace, what="all is gone"
    )
