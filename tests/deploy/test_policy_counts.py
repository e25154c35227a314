"""How much an API server evaluates for a request about a pod of a set, counted from the manifests.

Each mutation and each policy has a price of its own, however little it says: an object is converted
for it, several times. What they cost in CPU `tools/bench/guard.py` measures.
"""

from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.install import manifests

IDENTITY = "lws-kueue-pod-identity"
RULES = "lws-kueue-pod-identity-rules"
GUARD = "lws-kueue-guard-pods"
OWN = "lws-kueue-own-pods"
PLAIN = "lws-kueue-plain-pods"
VOLCANO = "lws-kueue-volcano"

# What is evaluated for each request about a pod that has a set's label. A status, a binding to a
# node and an Event are none of them.
EVALUATED: dict[tuple[str, str], set[str]] = {
    ("CREATE", "pods"): {IDENTITY, RULES, GUARD, OWN},
    ("UPDATE", "pods"): {GUARD, OWN},
    ("DELETE", "pods"): {GUARD, OWN},
    ("UPDATE", "pods/resize"): {GUARD},
    ("UPDATE", "pods/status"): set(),
    ("UPDATE", "pods/ephemeralcontainers"): set(),
    ("CREATE", "pods/binding"): set(),
    ("CREATE", "pods/eviction"): set(),
}

Policy = dict[str, Any]


def policies(objects: list[dict[str, Any]]) -> list[Policy]:
    return [obj for obj in objects if obj["kind"].endswith("AdmissionPolicy")]


def named(name: str) -> Policy:
    (found,) = (p for p in policies(manifests.every_object()) if p["metadata"]["name"] == name)
    return found


def matched(objects: list[dict[str, Any]], operation: str, resource: str) -> set[str]:
    """Return the policies whose rules match a request about something of the core group."""
    return {
        policy["metadata"]["name"]
        for policy in policies(objects)
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        if {"", "*"} & {*rule["apiGroups"]}
        and {operation, "*"} & {*rule["operations"]}
        and {resource, "*", "*/*", f"{resource.split('/')[0]}/*"} & {*rule["resources"]}
    }


@pytest.mark.parametrize(("operation", "resource"), EVALUATED)
def test_no_more_policies_are_evaluated_for_a_pod_than_there_were(
    operation: str, resource: str
) -> None:
    expected = EVALUATED[operation, resource]
    assert matched(manifests.api_objects(), operation, resource) == expected
    # With all that somebody may ask for.
    more = {PLAIN, VOLCANO} if (operation, resource) == ("CREATE", "pods") else set()
    assert matched(manifests.every_object(), operation, resource) == expected | more


def test_the_identity_of_a_pod_is_one_mutation_without_conditions() -> None:
    spec = named(IDENTITY)["spec"]
    assert len(spec["mutations"]) == 1
    # They would be evaluated for themselves, and again on the pod that this policy has changed.
    assert not spec.get("matchConditions")
    assert spec["reinvocationPolicy"] == "Never"


@pytest.mark.parametrize("name", [RULES, GUARD, OWN])
def test_what_is_checked_of_a_pod_has_one_condition_that_ends_it_early(name: str) -> None:
    # All conditions are evaluated, even behind one that is false.
    assert len(named(name)["spec"]["matchConditions"]) == 1


@pytest.mark.parametrize("name", [IDENTITY, RULES, GUARD, PLAIN, VOLCANO])
def test_pods_of_no_set_cost_nothing(name: str) -> None:
    constraints = named(name)["spec"]["matchConstraints"]
    assert constraints["objectSelector"] == {
        "matchExpressions": [{"key": names.SET_NAME, "operator": "Exists"}]
    }


@pytest.mark.parametrize(
    "name", [policy["metadata"]["name"] for policy in policies(manifests.every_object())]
)
def test_every_variable_is_asked_for(name: str) -> None:
    spec = named(name)["spec"]
    texts = [str(spec.get(key)) for key in ("validations", "mutations")]
    variables = {v["name"]: v["expression"] for v in spec.get("variables", ())}
    for variable in variables:
        others = [text for other, text in variables.items() if other != variable]
        assert any(_asks(text, variable) for text in (*texts, *others)), variable


def _asks(text: str, variable: str) -> bool:
    before, _, after = text.partition(f"variables.{variable}")
    if before == text:
        return False
    return not (after[:1].isalnum() or after[:1] == "_") or _asks(after, variable)
