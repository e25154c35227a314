from typing import Any

import pytest

from lws_kueue.api import taints
from lws_kueue.simulator import matching


def required(*terms: list[dict[str, Any]]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": selector}
    return {"affinity": {"nodeAffinity": affinity}}


def test_no_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not matching.selects(None, {"a": "b"})
    assert matching.selects({}, {})


@pytest.mark.parametrize(
    ("operator", "values", "matches"),
    [
        ("In", ["b"], True),
        ("In", ["c"], False),
        ("NotIn", ["c"], True),
        ("NotIn", ["b"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
        ("Gt", ["1"], False),
    ],
)
def test_selector_operators(operator: str, values: list[str], matches: bool) -> None:
    selector = {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}
    assert matching.selects(selector, {"a": "b"}) is matches


def test_numbers_are_compared_as_numbers() -> None:
    spec = required([{"key": "n", "operator": "Gt", "values": ["9"]}])
    assert matching.node_affinity(spec, {"n": "10"})
    assert not matching.node_affinity(spec, {"n": "9"})


def test_terms_of_node_affinity_are_alternatives() -> None:
    spec = required(
        [{"key": "a", "operator": "In", "values": ["1"]}],
        [{"key": "b", "operator": "Exists"}],
    )
    assert matching.node_affinity(spec, {"b": ""})
    assert not matching.node_affinity(spec, {"a": "2"})


def test_a_flavor_is_only_asked_about_keys_that_it_defines() -> None:
    spec = {"nodeSelector": {"zone": "z", "gpu": "a100"}}
    assert matching.flavor_affinity(spec, {"gpu": "a100"})
    assert not matching.flavor_affinity(spec, {"gpu": "h100"})
    # A term that says nothing about the flavor's keys accepts the flavor.
    either = required(
        [{"key": "gpu", "operator": "In", "values": ["h100"]}],
        [{"key": "zone", "operator": "In", "values": ["z"]}],
    )
    assert matching.flavor_affinity(either, {"gpu": "a100"})


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "spot", "operator": "Exists"}, True),
        ({"key": "spot", "value": "yes"}, True),
        ({"key": "spot", "value": "no"}, False),
        ({"key": "spot", "value": "yes", "effect": "NoExecute"}, False),
        ({"operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], tolerated: bool) -> None:
    taint = {"key": "spot", "value": "yes", "effect": "NoSchedule"}
    assert (taints.untolerated([taint], [toleration]) is None) is tolerated


def test_a_taint_that_only_prefers_keeps_nobody_away() -> None:
    assert taints.untolerated([{"key": "a", "effect": "PreferNoSchedule"}], []) is None
