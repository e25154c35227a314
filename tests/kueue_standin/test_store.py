"""The memory of the shell: only newer versions replace older ones."""

from typing import Any

from lws_kueue_lab.kueue_standin import store

LOCAL_QUEUE = next(kind for kind in store.KINDS if kind.kind == "LocalQueue")
NODE = next(kind for kind in store.KINDS if kind.kind == "Node")
KEY = ("default", "q")


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


def queue(version: int, cluster_queue: str = "cq") -> dict[str, Any]:
    metadata = {"namespace": "default", "name": "q", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"clusterQueue": cluster_queue}}


def test_an_answer_to_a_write_is_not_undone_by_an_older_event() -> None:
    known = store.Store(Counter())
    known.put(LOCAL_QUEUE, queue(5, "new"))
    known.put(LOCAL_QUEUE, queue(4, "old"))
    assert known.observed().local_queues[KEY].cluster_queue == "new"


def test_a_deleted_object_does_not_come_back_by_a_late_answer() -> None:
    known = store.Store(Counter())
    known.put(LOCAL_QUEUE, queue(4))
    known.remove(LOCAL_QUEUE, queue(6))
    known.put(LOCAL_QUEUE, queue(5))
    assert known.observed().local_queues == {}
    known.put(LOCAL_QUEUE, queue(7))
    assert KEY in known.observed().local_queues


def test_a_list_removes_what_it_lacks_but_not_what_is_newer_than_the_list() -> None:
    known = store.Store(Counter())
    known.put(LOCAL_QUEUE, queue(5))
    known.replace(LOCAL_QUEUE, [], 4)
    assert KEY in known.observed().local_queues
    known.replace(LOCAL_QUEUE, [], 6)
    assert known.observed().local_queues == {}


def test_a_change_that_no_decision_depends_on_wakes_nobody() -> None:
    changed = Counter()
    known = store.Store(changed)
    node: dict[str, Any] = {"metadata": {"name": "n", "resourceVersion": "1"}}
    known.put(NODE, node)
    before = changed.calls
    known.put(NODE, {"metadata": {"name": "n", "resourceVersion": "2"}, "status": {"images": []}})
    assert changed.calls == before
    allocatable = {"allocatable": {"cpu": "1"}}
    known.put(NODE, {"metadata": {"name": "n", "resourceVersion": "3"}, "status": allocatable})
    assert changed.calls == before + 1


def test_an_object_that_no_decision_depends_on_causes_no_pass() -> None:
    counter = Counter()
    known = store.Store(counter)
    pod = next(kind for kind in store.KINDS if kind.kind == "Pod")
    metadata = {"namespace": "default", "name": "p"}
    gated = {"metadata": metadata | {"resourceVersion": "1"}, "spec": {"containers": []}}
    known.put(pod, gated)
    assert known.observed().pods == {}
    known.remove(pod, gated)
    assert counter.calls == 0
    bound = {
        "metadata": metadata | {"resourceVersion": "2"},
        "spec": {"containers": [], "nodeName": "n"},
    }
    known.put(pod, bound)
    assert counter.calls == 1
    over = bound | {
        "metadata": metadata | {"resourceVersion": "3"},
        "status": {"phase": "Succeeded"},
    }
    known.put(pod, over)
    assert counter.calls == 2
    assert known.observed().pods == {}
