"""What is known of the objects that a manager has made in a worker."""

from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.dispatch import identity
from lws_kueue.runtime import keys, resources
from lws_kueue.runtime.clusters.store import Store

MANAGER = identity.Manager("11111111-2222-3333-4444-555555555555", "lws-kueue-11111111")
KEY = keys.SetKey("ns", "serve")


def made(version: int = 1, *, name: str = "one", manager: str = MANAGER.uid) -> dict[str, Any]:
    group = identity.GroupId("ns", "serve", "set-uid", 0)
    marks = identity.annotations(MANAGER, group) | {names.MANAGER: manager}
    meta: dict[str, Any] = {
        "namespace": "ns",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
    }
    meta |= {"labels": identity.labels(MANAGER, group), "annotations": marks}
    return {"apiVersion": names.LWS_API_VERSION, "kind": names.LWS_KIND, "metadata": meta}


def store() -> tuple[Store, list[str]]:
    taken: list[str] = []
    return Store(MANAGER, taken=lambda _, name, __: taken.append(name)), taken


def test_objects_are_found_by_the_set_that_they_were_made_for_and_the_newest_counts() -> None:
    found, _ = store()
    assert found.empty
    assert found.upsert(resources.SETS, made(2)) == {KEY}
    assert found.upsert(resources.SETS, made(1)) is None
    assert list(found.of_set(KEY, resources.SETS)) == ["one"]
    assert found.of_set(KEY, resources.SETS)["one"].meta.resource_version == "2"
    assert found.known_sets == {KEY}
    assert not found.empty


def test_what_is_not_ours_is_told_and_not_kept() -> None:
    found, taken = store()
    found.upsert(resources.SETS, made(1))
    assert found.upsert(resources.SETS, made(2, manager="another")) == {KEY}
    assert taken == ["one"]
    assert found.empty


def test_only_the_very_object_is_forgotten() -> None:
    found, _ = store()
    found.upsert(resources.SETS, made(1))
    assert found.remove(resources.SETS, namespace="ns", name="one", uid="another") is None
    assert found.remove(resources.SETS, namespace="ns", name="one", uid="uid-one") == {KEY}
    assert found.empty
    assert found.known_sets == set()


def test_a_list_ends_what_it_lacks_and_keeps_what_is_newer_than_it() -> None:
    found, _ = store()
    found.upsert(resources.SETS, made(3, name="old"))
    found.upsert(resources.SETS, made(9, name="new"))
    assert found.renew(resources.SETS, [made(4)], as_of="5") == {KEY}
    assert sorted(found.of_set(KEY, resources.SETS)) == ["new", "one"]


def test_what_cannot_be_parsed_ends_nothing_that_is_known() -> None:
    found, _ = store()
    found.upsert(resources.SETS, made(1))
    odd = made(2)
    odd["metadata"]["managedFields"] = 1
    with pytest.raises(TypeError):
        found.upsert(resources.SETS, odd)
    assert list(found.of_set(KEY, resources.SETS)) == ["one"]
