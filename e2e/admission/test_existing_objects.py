"""Objects that were stored before a rule existed can still be worked with and deleted.

Such objects are there after a take-over from another controller, and after an upgrade that adds a
rule. Both are made here under a group of their own: stored first, judged afterwards.
"""

import functools
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from lws_kueue_lab.sandbox import Sandbox, client

from lws_kueue.api import names
from tests.kit.admission import support

EARLIER_GROUP = "earlier.lws-kueue.dev"
API_VERSION = f"{EARLIER_GROUP}/{names.LWS_VERSION}"
FINALIZER = "example.com/hold"

Object = dict[str, Any]


RULES = ("lws-kueue-rules", "lws-kueue-queue-rules", "lws-kueue-topology-rules")


def definition(*, ruled: bool) -> Object:
    """Return the definition under the other group, with or without rules and bounds."""
    (obj,) = (o for o in support.api_objects() if o["kind"] == "CustomResourceDefinition")
    obj["metadata"]["name"] = f"{names.LWS_PLURAL}.{EARLIER_GROUP}"
    obj["spec"]["group"] = EARLIER_GROUP
    obj["spec"]["names"]["shortNames"] = []
    if not ruled:
        (version,) = obj["spec"]["versions"]
        _strip(version["schema"]["openAPIV3Schema"])
    return obj


def _strip(node: Any) -> None:
    if isinstance(node, dict):
        for key in ("x-kubernetes-validations", "minimum"):
            node.pop(key, None)
        for value in node.values():
            _strip(value)


def policies(namespace: str) -> list[Object]:
    """Return the policies of the rules for the other group, bound in one namespace only."""
    suffix = f"-{namespace}"
    result = []
    for obj in support.api_objects():
        if obj["metadata"]["name"] not in RULES:
            continue
        obj["metadata"]["name"] += suffix
        if obj["kind"] == "ValidatingAdmissionPolicy":
            (rule,) = obj["spec"]["matchConstraints"]["resourceRules"]
            rule["apiGroups"] = [EARLIER_GROUP]
        else:
            obj["spec"]["policyName"] += suffix
            selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
            obj["spec"]["matchResources"] = {"namespaceSelector": selector}
        result.append(obj)
    return result


NOTHING = support.rollout(maxUnavailable=0, maxSurge=0)
INDIVISIBLE = support.template(size=6, subGroupPolicy={"subGroupSize": 4})

# Name, changes of the spec, annotations: everything that a rule or a policy has something against.
FAULTY: dict[str, tuple[Object, dict[str, str]]] = {
    "n" * 60: ({}, {}),
    "2cube": ({}, {}),
    "rollout-of-nothing": (NOTHING, {}),
    "no-percent-sign": (support.rollout(maxUnavailable="1"), {}),
    "negative-partition": (support.rollout(partition=-1), {}),
    "indivisible-subgroups": (INDIVISIBLE, {}),
    "product": ({"replicas": 100000, **support.template(size=100000)}, {}),
    "stray-annotation": ({}, {names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "rack"}),
    "no-gate": ({}, {names.ADMISSION_GATED_BY: "x"}),
    "elastic": ({}, {names.ELASTIC_JOB: "true"}),
    "two-topologies": (
        support.template(
            workerTemplate={
                "metadata": {
                    "annotations": {
                        names.PODSET_REQUIRED_TOPOLOGY: "rack",
                        names.PODSET_PREFERRED_TOPOLOGY: "rack",
                    }
                }
            }
        ),
        {},
    ),
}


@pytest.fixture(scope="module")
def earlier(cluster: Sandbox) -> Iterator[support.Sets]:
    """Faulty sets, stored before there were any rules; now there are."""
    api, namespace = cluster.api, f"earlier-{secrets.token_hex(3)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    added = [definition(ruled=True), *policies(namespace)]
    api.apply(definition(ruled=False))
    support.wait_for_kind(api, API_VERSION)
    sets = support.Sets(api, namespace, API_VERSION)
    for name, (spec, annotations) in FAULTY.items():
        obj = sets.build(spec, name=name, annotations=annotations)
        obj["metadata"]["finalizers"] = [FINALIZER]
        sets.store(obj)
    for obj in added:
        api.apply(obj)
    _wait_until_judged(sets)
    yield sets
    for obj in reversed(added):
        api.delete(obj["apiVersion"], obj["kind"], obj["metadata"]["name"], missing_ok=True)
    api.delete("v1", "Namespace", namespace)


def _wait_until_judged(sets: support.Sets) -> None:
    """Wait until none of the faulty sets could be created any more."""

    def refused(name: str) -> bool:
        spec, annotations = FAULTY[name]
        # One digit more, because an object of the name itself exists.
        try:
            sets.accept(sets.build(spec, name=name + "9", annotations=annotations))
        except client.ApiError:
            return True
        return False

    for name in FAULTY:
        support.eventually(functools.partial(refused, name), what=f"{name} is refused")


@pytest.mark.parametrize(
    "name",
    ["n" * 60, "rollout-of-nothing", "stray-annotation", "no-gate", "elastic", "two-topologies"],
)
def test_other_fields_of_a_faulty_set_can_change(earlier: support.Sets, name: str) -> None:
    change = support.template(workerTemplate={"metadata": {"labels": {"a": "b"}}})
    after = earlier.update(name, {"spec": change})
    template = after["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    assert template["metadata"]["labels"] == {"a": "b"}
    after = earlier.update(name, {"spec": {"replicas": 0}})
    assert after["spec"]["replicas"] == 0


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_set_can_get_a_status_and_metadata_and_be_deleted(
    earlier: support.Sets, name: str
) -> None:
    earlier.update(name, {"status": {"replicas": 1}}, subresource="status")
    metadata = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    after = earlier.update(name, {"metadata": metadata})
    assert after["status"] == {"replicas": 1}
    assert after["metadata"]["labels"] == {"a": "b"}

    earlier.delete(name)
    assert earlier.get(name)["metadata"]["finalizers"] == [FINALIZER]
    earlier.update(name, {"metadata": {"finalizers": None}})
    with pytest.raises(client.ApiError) as gone:
        earlier.get(name)
    assert gone.value.status == 404
