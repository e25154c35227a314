"""What is alike is kept once, and nothing looks different for it."""

import copy
import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from lws_kueue.api import names
from lws_kueue.runtime import alike, cache, keys, resources
from tests.kit.examples import examples

KEY = keys.SetKey("ns", "set")

# One schema: what stands at a place is always of one type.
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "host": st.text(max_size=2),
        "grace": st.integers(0, 2),
        "on": st.booleans(),
        "selector": st.dictionaries(st.sampled_from("abc"), st.text(max_size=1)),
        "env": st.lists(st.fixed_dictionaries({"name": st.sampled_from("ab")}), max_size=3),
    },
)


@examples(300)
@given(new=SPECS, like=SPECS | st.none())
def test_what_shares_is_equal_and_nothing_is_changed_for_it(new: Any, like: Any) -> None:
    before = copy.deepcopy((new, like))
    result = alike.shared(new, like)
    assert json.dumps(result, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert result == new
    assert (new, like) == before


def pod(name: str, *, version: int = 1, **meta: Any) -> dict[str, Any]:
    """A pod as it comes: it has no object in common with any other."""
    env = [{"name": "LWS_GROUP_SIZE", "value": "4"}, {"name": "NAME", "value": name}]
    given_meta = {
        "namespace": "ns",
        "name": name,
        "uid": name,
        "resourceVersion": str(version),
        "labels": {names.SET_NAME: "set", names.WORKER_INDEX: "1", "name": name},
    }
    obj = {
        "metadata": {**given_meta, **meta},
        "spec": {
            "containers": [{"name": "main", "env": env}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
        },
    }
    return dict(json.loads(json.dumps(obj)))


def test_pods_of_a_set_share_all_but_what_is_their_own() -> None:
    store = cache.Cache()
    for name in ("set-0-1", "set-0-2"):
        store.upsert(resources.PODS, pod(name))
    one, other = store.of_set(KEY, resources.PODS).values()
    assert one.spec["tolerations"] is other.spec["tolerations"]
    ours, theirs = (fact.spec["containers"][0]["env"] for fact in (one, other))
    assert ours[0] is theirs[0]
    assert (ours[1]["value"], theirs[1]["value"]) == ("set-0-1", "set-0-2")
    first, second = (
        next(key for key in fact.meta.labels if key == "name") for fact in (one, other)
    )
    assert first is second


def test_the_one_that_others_share_with_may_change_and_go() -> None:
    store = cache.Cache()
    store.upsert(resources.PODS, pod("set-0-1"))
    store.upsert(resources.PODS, pod("set-0-2"))
    changed = pod("set-0-1", version=2)
    changed["spec"]["tolerations"] = []
    store.upsert(resources.PODS, changed)
    pods = store.of_set(KEY, resources.PODS)
    assert pods["set-0-1"].spec == changed["spec"]
    assert pods["set-0-2"].spec == pod("set-0-2")["spec"]
    store.remove(resources.PODS, namespace="ns", name="set-0-1", uid="set-0-1")
    assert store.of_set(KEY, resources.PODS)["set-0-2"].spec == pod("set-0-2")["spec"]
    store.remove(resources.PODS, namespace="ns", name="set-0-2", uid="set-0-2")
    assert not store._alike._last, "nothing is remembered of a set that has no objects"


def test_what_is_nested_without_end_is_taken_as_it_is() -> None:
    def deep(end: int) -> Any:
        value: Any = end
        for _ in range(2 * alike.DEEPEST):
            value = {"in": value}
        return value

    assert alike.shared(deep(1), deep(2)) == deep(1)
