"""Which worker pods are noted as lost: those that somebody else has deleted."""

from typing import Any

import pytest

from lws_kueue.controller.observe import members
from lws_kueue.runtime import cache, departures, memory, resources
from tests.runtime.test_cache import KEY, pod


def worker(*, uid: str = "w1", version: int = 5, **metadata: Any) -> dict[str, Any]:
    owner = {"kind": "StatefulSet", "name": "set-0", "uid": "workers", "controller": True}
    obj = pod("set-0-1", uid=uid, version=version)
    obj["metadata"] |= {"ownerReferences": [owner], **metadata}
    return obj


def with_worker_set() -> tuple[cache.Cache, departures.Departures]:
    store = cache.Cache()
    departing = departures.Departures(store=store, memories=memory.Memories(status_interval=1.0))
    owner = {"kind": "Pod", "name": "set-0", "uid": "leader", "controller": True}
    metadata = {**pod("set-0", uid="workers")["metadata"], "ownerReferences": [owner]}
    store.upsert(resources.STATEFUL_SETS, {"metadata": metadata, "spec": {}})
    return store, departing


GONE = members.Departed(0, "leader", "workers", uid="w1", name="set-0-1")


@pytest.mark.parametrize("deleted", [None, "2030-01-01T00:00:00Z"])
def test_a_worker_that_vanishes_is_noted_even_if_another_one_has_its_name(
    deleted: str | None,
) -> None:
    store, departing = with_worker_set()
    store.upsert(resources.PODS, worker(deletionTimestamp=deleted))
    store.remove(resources.PODS, namespace="ns", name="set-0-1", uid="w1", version="6")
    store.upsert(resources.PODS, worker(uid="w2", version=7))
    assert departing.lost_pods(KEY) == (GONE,)
    store.remove(resources.STATEFUL_SETS, namespace="ns", name="set-0", uid="workers")
    assert departing.lost_pods(KEY) == (), "the group goes, or is made anew already"


def test_a_worker_of_which_only_the_end_was_told_is_noted_once() -> None:
    _, departing = with_worker_set()
    assert departing.never_seen(resources.PODS, worker()) == {KEY}
    assert departing.lost_pods(KEY) == (GONE,)
    own_store, own = with_worker_set()
    own_store.remove(resources.PODS, namespace="ns", name="set-0-1", uid="w1")
    assert own.never_seen(resources.PODS, worker()) == set()
    assert own.lost_pods(KEY) == ()


def test_a_worker_that_a_pass_has_seen_to_be_gone_is_not_spoken_of_again() -> None:
    _, departing = with_worker_set()
    departing.never_seen(resources.PODS, worker())
    seen = departing.lost_pods(KEY)
    departing.never_seen(resources.PODS, worker(uid="w2"))
    departing.dealt_with(KEY, [pod.uid for pod in seen])
    assert [pod.uid for pod in departing.lost_pods(KEY)] == ["w2"], "it went while the pass ran"
    departing.dealt_with(KEY, ["w2"])
    assert departing.lost_pods(KEY) == ()


@pytest.mark.parametrize("case", ["own deletion", "own at once", "gated", "former set"])
def test_a_worker_whose_end_is_no_failure_is_not_noted(case: str) -> None:
    store, departing = with_worker_set()
    body = worker(deletionTimestamp="2030-01-01T00:00:00Z")
    if case == "own deletion":
        departing.expect("w1")
    if case == "gated":
        body["spec"]["schedulingGates"] = [{"name": "x"}]
    if case == "former set":
        body["metadata"]["ownerReferences"][0]["uid"] = "former"
    store.upsert(resources.PODS, body)
    version = None if case == "own at once" else "6"
    store.remove(resources.PODS, namespace="ns", name="set-0-1", uid="w1", version=version)
    assert departing.lost_pods(KEY) == ()
