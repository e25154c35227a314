"""What is installed, in which order, and what is taken away."""

from typing import Any

import pytest

import lws_kueue
from lws_kueue.api import names
from lws_kueue.install import manifests
from lws_kueue.runtime import resources

CHOICES: list[manifests.Choice] = [
    {"gang_scheduling": gang_scheduling, "kueue": kueue, "default_priority_class": priority}
    for gang_scheduling in (None, *manifests.GANG_SCHEDULERS)
    for kueue in (False, True)
    for priority in (False, True)
]


def identity(obj: dict[str, Any]) -> tuple[str, str]:
    """Return kind and name of an object."""
    return obj["kind"], obj["metadata"]["name"]


@pytest.mark.parametrize("choice", CHOICES)
def test_definitions_come_before_policies_and_these_before_their_bindings(
    choice: manifests.Choice,
) -> None:
    wanted = manifests.api_objects(**choice)
    kinds = [obj["kind"] for obj in wanted]
    ranks = [
        0 if kind == "CustomResourceDefinition" else 2 if kind.endswith("Binding") else 1
        for kind in kinds
    ]
    assert ranks == sorted(ranks)
    assert set(ranks) == {0, 1, 2}


@pytest.mark.parametrize("choice", CHOICES)
def test_nothing_is_installed_and_taken_away_at_once(
    choice: manifests.Choice,
) -> None:
    installed = manifests.api_objects(**choice)
    retired = manifests.retired(**choice)
    wanted = {identity(o) for o in installed}
    unwanted = {(o.kind, o.name) for o in retired}
    assert unwanted, "what earlier versions had, at least"
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
    assert "lws-kueue-default-queue" in {name for _, name in added}
    assert added <= {(o.kind, o.name) for o in manifests.retired()}


@pytest.mark.row("P8")
def test_a_default_priority_is_installed_only_where_it_is_asked_for_and_kueue_is_served() -> None:
    without: manifests.Choice = {"kueue": True}
    asked: manifests.Choice = {"default_priority_class": True}
    found = [{identity(o) for o in manifests.api_objects(**c)} for c in (without, without | asked)]
    added = found[1] - found[0]
    assert {name for _, name in added} == {"lws-kueue-default-priority"}
    unasked: tuple[manifests.Choice, ...] = ({}, without, asked)
    for choice in unasked:
        assert added <= {(o.kind, o.name) for o in manifests.retired(**choice)}
    assert manifests.api_objects(**asked) == manifests.api_objects()


def test_bindings_are_taken_away_before_their_policies() -> None:
    kinds = [obj.kind for obj in manifests.retired()]
    bindings = [kind.endswith("Binding") for kind in kinds]
    assert bindings == sorted(bindings, reverse=True)
    assert any(bindings)


def test_everything_that_is_taken_away_has_a_path() -> None:
    for obj in manifests.retired():
        assert obj.name in resources.of(obj.api_version, obj.kind).path(name=obj.name)


def test_everything_that_is_installed_names_the_version_that_it_belongs_to() -> None:
    for obj in manifests.every_object():
        assert obj["metadata"]["annotations"][names.VERSION] == lws_kueue.__version__


@pytest.mark.parametrize(
    "folder", ["api", "kueue", "default-priority-class", *manifests.GANG_SCHEDULERS]
)
def test_what_is_applied_with_kubectl_names_the_same_version(folder: str) -> None:
    (kustomization,) = manifests.load(manifests.root() / "deploy" / folder / "kustomization.yaml")
    assert kustomization["commonAnnotations"] == {names.VERSION: lws_kueue.__version__}
