"""Which pods Kueue's pod integration takes for its own, and what it makes of them."""

import copy
from typing import Any

import pytest
from lws_kueue_lab.kueue_standin import pod_marks, webhook

from lws_kueue.api import names

Json = dict[str, Any]

BOTH_GATES = [{"name": names.ADMISSION_GATE}, {"name": names.TOPOLOGY_GATE}]
SUSPENDED = {names.POD_SUSPENDING_PARENT: "somebody"}
QUEUED = {names.QUEUE_NAME: "lq"}


def owned_by(kind: str, name: str, *, api_version: str = "apps/v1") -> Json:
    ref = {"apiVersion": api_version, "kind": kind, "name": name, "uid": f"uid-{name}"}
    return {"ownerReferences": [ref | {"controller": True}]}


def pod(**metadata: Any) -> Json:
    spec = {"containers": [{"name": "c", "image": "x"}]}
    return {"kind": "Pod", "metadata": {"name": "p", **metadata}, "spec": spec}


def owners(*, queue: str | None, uid: str = "uid-set") -> dict[str, Json]:
    """A StatefulSet `sts` that belongs to a LeaderWorkerSet `set`."""
    labels = {names.QUEUE_NAME: queue} if queue else {}
    above = owned_by(names.LWS_KIND, "set", api_version=names.LWS_API_VERSION)
    return {
        "sts": {"metadata": {"name": "sts", "uid": "uid-sts", **above}},
        "set": {"metadata": {"name": "set", "uid": uid, "labels": labels}},
    }


def marked(
    given: Json,
    *,
    known: dict[str, Json] | None = None,
    default_queue: bool = False,
    **integration: bool,
) -> Json:
    before = copy.deepcopy(given)
    made = pod_marks.marked(
        given,
        namespace="ns",
        integration=pod_marks.Integration(**integration),
        around=pod_marks.Surroundings(
            find=lambda _version, _kind, _namespace, name: (known or {}).get(name),
            has_default_queue=lambda _: default_queue,
        ),
    )
    assert given == before, "the request is not changed"
    return made


def is_kueues(given: Json) -> bool:
    meta = given["metadata"]
    found = (meta.get("labels") or {}).get(names.MANAGED) == "true"
    assert found == (pod_marks.FINALIZER in (meta.get("finalizers") or ()))
    assert not found or given["spec"]["schedulingGates"] == BOTH_GATES
    return found


def test_a_pod_that_another_one_manages_is_held_back_and_nothing_else() -> None:
    born_gated = pod(annotations=SUSPENDED)
    born_gated["spec"]["schedulingGates"] = BOTH_GATES[:1]
    for given in (born_gated, pod(annotations=SUSPENDED)):
        made = marked(given, default_queue=True, everything=True)
        assert made["spec"]["schedulingGates"] == BOTH_GATES
        assert len(made["metadata"]["annotations"][pod_marks.ROLE_HASH]) == 8
        assert not made["metadata"]["labels"]
        assert not is_kueues(made)


def test_a_pod_with_a_queue_is_kueues_and_one_without_is_nobodys() -> None:
    assert is_kueues(marked(pod(labels=QUEUED)))
    assert marked(pod()) == pod()
    assert is_kueues(marked(pod(), everything=True))
    assert marked(pod(), default_queue=True)["metadata"]["labels"][names.QUEUE_NAME] == "default"


@pytest.mark.row("P2")
@pytest.mark.parametrize(
    ("queue", "external", "everything", "taken"),
    [
        ("lq", True, False, False),
        ("lq", False, False, True),
        (None, True, False, True),
        (None, False, False, True),
        (None, True, True, False),
    ],
)
def test_a_default_queue_takes_pods_of_sets_that_kueue_does_not_know_to_be_managed(
    queue: str | None, external: bool, everything: bool, taken: bool
) -> None:
    made = marked(
        pod(**owned_by("StatefulSet", "sts")),
        known=owners(queue=queue),
        default_queue=True,
        external=external,
        everything=everything,
    )
    assert is_kueues(made) is taken


def test_owners_are_looked_at_as_far_as_they_are_known_and_are_the_ones_that_are_meant() -> None:
    foreign = pod(**owned_by("Thing", "thing", api_version="example.com/v1"))
    assert is_kueues(marked(foreign, default_queue=True))
    replaced = pod(**owned_by("StatefulSet", "sts"))
    known = owners(queue="lq", uid="another")
    assert is_kueues(marked(replaced, known=known, default_queue=True))
    with pytest.raises(pod_marks.OwnerMissingError, match="StatefulSet sts"):
        marked(replaced)


def test_a_pod_says_its_index_in_its_group_where_it_is_asked_to() -> None:
    annotations = {**SUSPENDED, "kueue.x-k8s.io/pod-group-pod-index-label": "index"}
    made = marked(pod(annotations=annotations, labels={"index": "3"}))
    assert made["metadata"]["labels"]["kueue.x-k8s.io/pod-group-pod-index"] == "3"


def test_the_answer_to_a_request_is_a_patch_a_refusal_or_nothing() -> None:
    review = {"request": {"uid": "u", "namespace": "ns", "object": pod()}}

    def refuse(_pod: Json, _namespace: str) -> Json:
        raise pod_marks.OwnerMissingError("gone")

    nothing = webhook.answer(review, lambda pod, _: pod)["response"]
    assert nothing == {"uid": "u", "allowed": True}
    patched = webhook.answer(review, lambda pod, _: pod | {"spec": {"containers": []}})["response"]
    assert patched["allowed"]
    assert patched["patchType"] == "JSONPatch"
    refused = webhook.answer(review, refuse)["response"]
    assert (refused["allowed"], refused["status"]["message"]) == (False, "gone")
