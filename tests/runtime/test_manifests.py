"""What is installed, in which order, and what is taken away."""

from typing import Any

import pytest

from lws_kueue.runtime import manifests, resources

CHOICES = [None, *manifests.GANG_SCHEDULERS]


def identity(obj: dict[str, Any]) -> tuple[str, str]:
    """Return kind and name of an object."""
    return obj["kind"], obj["metadata"]["name"]


@pytest.mark.parametrize("kueue", [False, True])
@pytest.mark.parametrize("gang_scheduling", CHOICES)
def test_definitions_come_before_policies_and_these_before_their_bindings(
    gang_scheduling: manifests.GangScheduling | None,
    kueue: bool,
) -> None:
    wanted = manifests.api_objects(gang_scheduling=gang_scheduling, kueue=kueue)
    kinds = [obj["kind"] for obj in wanted]
    ranks = [
        0 if kind == "CustomResourceDefinition" else 2 if kind.endswith("Binding") else 1
        for kind in kinds
    ]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


@pytest.mark.parametrize("kueue", [False, True])
@pytest.mark.parametrize("gang_scheduling", CHOICES)
def test_nothing_is_installed_and_taken_away_at_once(
    gang_scheduling: manifests.GangScheduling | None,
    kueue: bool,
) -> None:
    installed = manifests.api_objects(gang_scheduling=gang_scheduling, kueue=kueue)
    retired = manifests.retired(gang_scheduling=gang_scheduling, kueue=kueue)
    wanted = {identity(o) for o in installed}
    unwanted = {(o.kind, o.name) for o in retired}
    assert unwanted
    assert not wanted & unwanted


def test_what_belongs_to_a_scheduler_goes_when_it_is_not_asked_for() -> None:
    always = {identity(o) for o in manifests.api_objects()}
    for name in manifests.GANG_SCHEDULERS:
        with_it = {identity(o) for o in manifests.api_objects(gang_scheduling=name)}
        assert always < with_it
        assert with_it - always <= {(o.kind, o.name) for o in manifests.retired()}


def test_what_needs_kueue_is_installed_where_there_is_one_and_goes_otherwise() -> None:
    always = {identity(o) for o in manifests.api_objects()}
    added = {identity(o) for o in manifests.api_objects(kueue=True)} - always
    assert {name for _, name in added} == {"lws-kueue-default-queue", "lws-kueue-default-priority"}
    assert added <= {(o.kind, o.name) for o in manifests.retired()}


def test_bindings_are_taken_away_before_their_policies() -> None:
    kinds = [obj.kind for obj in manifests.retired()]
    bindings = [kind.endswith("Binding") for kind in kinds]
    assert bindings == sorted(bindings, reverse=True)
    assert any(bindings)


def test_everything_that_is_taken_away_has_a_path() -> None:
    for obj in manifests.retired():
        assert obj.name in resources.of(obj.api_version, obj.kind).path(name=obj.name)
