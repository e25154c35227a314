"""Features that no policy or controller of this version serves are refused, saying so."""

from collections.abc import Mapping
from typing import Any

import pytest

from e2e.admission import support
from lws_kueue.api import names

Change = Mapping[str, Any]


def asking(*, kind: str, list_: str, amount: Any, template: str) -> Change:
    """Return a change in which a container asks for TPUs."""
    container = {
        "name": "t",
        "image": "image",
        "resources": {kind: {"google.com/tpu": amount}},
    }
    spec = {list_: [container]}
    if list_ == "initContainers":
        spec["containers"] = [{"name": "c", "image": "image"}]
    return support.template(**{template: {"spec": spec}})


EXCLUSIVE = {names.EXCLUSIVE_TOPOLOGY: "rack"}
SUBGROUP_EXCLUSIVE = {names.SUBGROUP_EXCLUSIVE_TOPOLOGY: "rack"}
SUBGROUPS = support.template(subGroupPolicy={"subGroupSize": 1})


@pytest.mark.parametrize(
    ("change", "annotations", "feature"),
    [
        (SUBGROUPS, {}, "subgroups are not served"),
        ({}, EXCLUSIVE, "exclusive placement is not served"),
        (SUBGROUPS, SUBGROUP_EXCLUSIVE, "subgroups are not served"),
    ],
)
def test_a_placement_that_is_not_served_is_refused(
    sets: support.Sets, change: Change, annotations: dict[str, str], feature: str
) -> None:
    with support.refused() as refusal:
        sets.accept(sets.build(change, annotations=annotations))
    assert feature in refusal.message
    assert "'lws-kueue-served-features'" in refusal.message


@pytest.mark.parametrize("template", ["leaderTemplate", "workerTemplate"])
@pytest.mark.parametrize("list_", ["containers", "initContainers"])
@pytest.mark.parametrize("kind", ["limits", "requests"])
@pytest.mark.parametrize("amount", [4, "4"])
def test_tpus_are_not_served_whoever_asks(
    sets: support.Sets, template: str, list_: str, kind: str, amount: Any
) -> None:
    change = asking(kind=kind, list_=list_, amount=amount, template=template)
    with support.refused() as refusal:
        sets.accept(sets.build(change))
    assert "google.com/tpu" in refusal.message
    assert "not served" in refusal.message


@pytest.mark.parametrize(
    "change",
    [
        asking(kind="limits", list_="containers", amount=0, template="workerTemplate"),
        asking(kind="requests", list_="containers", amount="0", template="leaderTemplate"),
        {"networkConfig": {"subdomainPolicy": "UniquePerReplica"}},
        {"startupPolicy": "LeaderReady"},
        support.template(
            volumeClaimTemplates=[
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                }
            ]
        ),
        support.template(
            workerTemplate={
                "spec": {
                    "containers": [
                        {
                            "name": "c",
                            "image": "image",
                            "resources": {"limits": {"cpu": "1", "nvidia.com/gpu": 8}},
                        }
                    ]
                }
            }
        ),
    ],
    ids=["zero-tpus", "zero-tpus-text", "unique-subdomain", "leader-ready", "claims", "gpus"],
)
def test_what_is_served_is_accepted(sets: support.Sets, change: Change) -> None:
    sets.accept(sets.build(change))


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        ({"metadata": {"annotations": EXCLUSIVE}}, "exclusive placement"),
        (
            {
                "spec": asking(
                    kind="limits", list_="containers", amount=4, template="workerTemplate"
                )
            },
            "google.com/tpu",
        ),
    ],
)
def test_a_stored_set_cannot_start_to_ask_for_it(
    sets: support.Sets, change: Change, feature: str
) -> None:
    sets.store(sets.build())
    with support.refused() as refusal:
        sets.update("test-sample", change)
    assert feature in refusal.message
