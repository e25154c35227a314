"""Sets that want to be beside others: what they are told of those, and when they are woken."""

from typing import Any

import pytest

from lws_kueue.api import names
from lws_kueue.dispatch.observed import Neighbour
from lws_kueue.runtime import cache, keys, resources
from lws_kueue.runtime.clusters import neighbours

OWN, OTHER, THIRD = (keys.SetKey("ns", name) for name in ("own", "other", "third"))


class Scene:
    """A cache, to which sets and Workloads are added under ever newer versions."""

    def __init__(self) -> None:
        self.store = cache.Cache()
        self.neighbours = neighbours.Neighbours(self.store)
        self._version = 0

    def meta(self, key: keys.SetKey, **more: Any) -> dict[str, Any]:
        self._version += 1
        meta = {"namespace": key.namespace, "name": key.name, "uid": f"uid-{key.name}"}
        return meta | {"resourceVersion": str(self._version)} | more

    def set(self, key: keys.SetKey, *, beside: str = "") -> None:
        annotations = {names.SAME_CLUSTER_AS: beside} if beside else {}
        template = {"spec": {"containers": [{"name": "c", "image": "app"}]}}
        spec = {"replicas": 2, "leaderWorkerTemplate": {"size": 1, "workerTemplate": template}}
        meta = self.meta(key, annotations=annotations)
        self.store.upsert(resources.SETS, {"metadata": meta, "spec": spec})

    def group(
        self,
        key: keys.SetKey,
        index: int,
        cluster: str = "",
        *,
        owner: str = "",
        going: bool = False,
    ) -> None:
        uid = owner or f"uid-{key.name}"
        more: dict[str, Any] = {
            "name": f"w-{key.name}-{index}",
            "uid": f"w-{key.name}-{index}",
            "ownerReferences": [{"kind": names.LWS_KIND, "name": key.name, "uid": uid}],
        }
        if going:
            more["deletionTimestamp"] = "2030-01-01T00:00:00Z"
        status = {"clusterName": cluster} if cluster else {}
        self.store.upsert(
            resources.WORKLOADS, {"metadata": self.meta(key, **more), "spec": {}, "status": status}
        )

    def of(self, key: keys.SetKey) -> dict[str, Neighbour]:
        live = self.store.get(resources.SETS, namespace=key.namespace, name=key.name)
        return dict(self.neighbours.of(key, live))

    def gone(self, key: keys.SetKey) -> None:
        self.store.remove(
            resources.SETS, namespace=key.namespace, name=key.name, uid=f"uid-{key.name}"
        )


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_set_that_names_none_is_told_of_none_and_nobody_is_woken(scene: Scene) -> None:
    scene.set(OWN)
    scene.set(OTHER)
    assert scene.of(OWN) == {}
    assert scene.neighbours.news(OTHER) == set()


@pytest.mark.row("MK-13")
def test_a_set_is_told_to_which_clusters_the_groups_of_another_one_were_given(
    scene: Scene,
) -> None:
    scene.set(OWN, beside="other")
    assert scene.of(OWN) == {}
    scene.set(OTHER)
    assert scene.of(OWN) == {"other": Neighbour()}
    scene.group(OTHER, 0)
    scene.group(OTHER, 1, "w1")
    scene.group(OTHER, 2, "w2", going=True)
    scene.group(OTHER, 3, "w3", owner="uid-of-before")
    assert scene.of(OWN) == {"other": Neighbour(frozenset({"w1"}))}


@pytest.mark.row("MK-13")
def test_a_set_is_told_of_all_sets_by_which_it_waits_for_itself(scene: Scene) -> None:
    scene.set(OWN, beside="other")
    scene.set(OTHER, beside="third")
    scene.set(THIRD, beside="own")
    assert scene.of(OWN) == {
        "other": Neighbour(beside="third"),
        "third": Neighbour(beside="own"),
        "own": Neighbour(beside="other"),
    }
    scene.set(THIRD, beside="other")
    assert list(scene.of(OWN)) == ["other", "third"]


@pytest.mark.row("MK-13")
def test_a_set_is_woken_when_the_other_one_comes_moves_and_goes_and_at_nothing_else(
    scene: Scene,
) -> None:
    scene.set(OWN, beside="other")
    scene.of(OWN)
    scene.set(OTHER)
    assert scene.neighbours.news(OTHER) == {OWN}
    assert scene.neighbours.news(OTHER) == set()
    scene.group(OTHER, 0)
    assert scene.neighbours.news(OTHER) == set()
    scene.group(OTHER, 0, "w1")
    assert scene.neighbours.news(OTHER) == {OWN}
    scene.set(OTHER)
    assert scene.neighbours.news(OTHER) == set()
    scene.gone(OTHER)
    assert scene.neighbours.news(OTHER) == {OWN}
    scene.set(OWN)
    scene.of(OWN)
    scene.set(OTHER)
    assert scene.neighbours.news(OTHER) == set()


@pytest.mark.row("MK-13")
def test_a_set_that_names_itself_does_not_wake_itself_for_ever(scene: Scene) -> None:
    scene.set(OWN, beside="own")
    assert scene.of(OWN) == {"own": Neighbour(beside="own")}
    assert scene.neighbours.news(OWN) == set()
