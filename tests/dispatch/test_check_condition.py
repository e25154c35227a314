"""What is said of an AdmissionCheck of ours, in each situation."""

import re
from typing import Any

import pytest

from lws_kueue.dispatch import check_condition
from lws_kueue.dispatch.check_condition import ClusterFacts, Parameters

GROUP = "kueue.x-k8s.io"
OURS = Parameters(GROUP, "MultiKueueConfig", "config")
GOOD, BAD = ClusterFacts(), ClusterFacts(problem="Kueue is not installed")
NOTED = ClusterFacts(note="Secret kueue-system/w1 does not exist; the kubeconfig before it goes on")
NAMES = "it has to name a MultiKueueConfig of kueue.x-k8s.io"

CASES: dict[str, tuple[Any, dict[str, ClusterFacts], tuple[str, str, str]]] = {
    "no-parameters": (None, {}, ("False", "BadConfig", f"spec.parameters is missing: {NAMES}")),
    "other-group": (
        Parameters("example.com", "MultiKueueConfig", "config"),
        {},
        ("False", "BadConfig", f"spec.parameters.apiGroup is example.com: {NAMES}"),
    ),
    "other-kind": (
        Parameters(GROUP, "ConfigMap", "config"),
        {},
        ("False", "BadConfig", f"spec.parameters.kind is ConfigMap: {NAMES}"),
    ),
    "no-config": (
        Parameters(GROUP, "MultiKueueConfig", "other"),
        {},
        ("False", "BadConfig", "MultiKueueConfig other does not exist"),
    ),
    "empty-config": (
        Parameters(GROUP, "MultiKueueConfig", "empty"),
        {},
        ("False", "BadConfig", "MultiKueueConfig empty names no cluster"),
    ),
    "all": (OURS, {"w1": GOOD, "w2": GOOD}, ("True", "Active", "all clusters can be used")),
    "all-with-a-note": (
        OURS,
        {"w1": NOTED, "w2": GOOD},
        ("True", "Active", f"all clusters can be used; w1: {NOTED.note}"),
    ),
    "one-bad": (
        OURS,
        {"w1": BAD, "w2": GOOD},
        ("True", "SomeActiveClusters", "usable: w2; w1: Kueue is not installed"),
    ),
    "one-unknown": (
        OURS,
        {"w1": GOOD},
        ("True", "SomeActiveClusters", "usable: w1; w2: there is no such MultiKueueCluster"),
    ),
    "none": (
        OURS,
        {"w1": BAD},
        (
            "False",
            "NoUsableClusters",
            "no cluster can be used; w1: Kueue is not installed; "
            "w2: there is no such MultiKueueCluster",
        ),
    ),
}


def condition(parameters: Parameters | None, **more: Any) -> tuple[str, str, str]:
    configs = {"config": ["w1", "w2"], "empty": []}
    found = check_condition.condition(parameters, configs=configs, **more)
    return found.status, found.reason, found.message


@pytest.mark.parametrize(("parameters", "clusters", "told"), CASES.values(), ids=CASES)
@pytest.mark.row("MK-51")
def test_each_situation_has_its_reason_and_text(
    parameters: Parameters | None, clusters: dict[str, ClusterFacts], told: tuple[str, str, str]
) -> None:
    assert condition(parameters, clusters=clusters) == told


def test_a_config_that_nobody_may_read_is_not_said_to_be_missing() -> None:
    told = condition(OURS, clusters={}, unread="the controller has no right to")
    assert told == (
        "False",
        "BadConfig",
        "MultiKueueConfig config cannot be read: the controller has no right to",
    )


def test_a_condition_of_twenty_clusters_with_much_to_say_can_be_stored() -> None:
    names = [f"{n:02}".ljust(256, "x") for n in range(20)]
    bad = ClusterFacts(problem="y" * 5000)
    for facts in ({}, dict.fromkeys(names, bad), {**dict.fromkeys(names, bad), names[0]: GOOD}):
        found = check_condition.condition(OURS, configs={"config": names}, clusters=facts)
        assert len(found.message) <= 32768
        assert re.fullmatch(r"[A-Za-z]+", found.reason)
