"""Whether the groups of a set are dispatched, by what its ClusterQueue asks for (MK-57, MK-66)."""

from typing import Any

import pytest

from lws_kueue.api import kueue, names
from lws_kueue.dispatch import activation
from tests.kit.builders import builders

CHECKS = {
    "ours": builders.check("ours", names.DISPATCH_CONTROLLER),
    "more": builders.check("more", names.DISPATCH_CONTROLLER),
    "mk": builders.check("mk", names.MULTIKUEUE_CONTROLLER),
    "other": builders.check("other"),
}
FLAVORS = {
    name: kueue.ResourceFlavor.of({"metadata": {"name": name}, "spec": spec})
    for name, spec in (("plain", {}), ("placed", {"topologyName": "racks"}))
}


def queue(*checks: str, flavor: str = "plain", on: tuple[str, ...] = ()) -> kueue.ClusterQueue:
    asked = [{"name": name, "onFlavors": list(on)} for name in checks]
    spec = {
        "admissionChecksStrategy": {"admissionChecks": asked},
        "resourceGroups": [{"coveredResources": ["cpu"], "flavors": [{"name": flavor}]}],
    }
    return kueue.ClusterQueue.of({"metadata": {"name": "cq"}, "spec": spec})


def of(asked: kueue.ClusterQueue | None, *, built_in: bool = False) -> activation.Activation:
    return activation.of(asked, checks=CHECKS, flavors=FLAVORS, built_in=built_in)


@pytest.mark.parametrize("asked", [None, queue(), queue("other"), queue("mk"), queue("missing")])
def test_a_queue_without_a_check_of_ours_dispatches_nothing(
    asked: kueue.ClusterQueue | None,
) -> None:
    assert of(asked) == activation.Activation()
    assert not of(asked).dispatches


def test_a_queue_with_one_check_of_ours_for_all_flavors_dispatches() -> None:
    assert of(queue("other", "ours")) == activation.Activation("ours")


REFUSED: dict[str, tuple[kueue.ClusterQueue, dict[str, Any]]] = {
    "TwoDispatchers": (queue("ours", "more"), {}),
    "CheckPerFlavor": (queue("ours", on=("plain",)), {}),
    "ManagerFlavorHasTopology": (queue("ours", flavor="placed"), {}),
    "BuiltInIntegrationOn": (queue("ours"), {"built_in": True}),
}


@pytest.mark.row("MK-57")
@pytest.mark.parametrize(("code", "given"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_be_served_is_refused_with_what_to_change(
    code: str, given: tuple[kueue.ClusterQueue, dict[str, Any]]
) -> None:
    found = of(given[0], **given[1])
    assert found.dispatches
    assert found.refused is not None
    assert (found.refused.code, bool(found.refused.fix)) == (code, True)


@pytest.mark.row("MK-57")
def test_kueues_own_dispatcher_beside_ours_is_one_too_many() -> None:
    found = of(queue("ours", "mk"))
    assert found.refused is not None
    assert found.refused.text.endswith("ours, mk")
