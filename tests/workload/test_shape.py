"""What Kueue admitted is told from what it never sees: edits keep Workloads, or renew them."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import completion, kueue, lws, names
from lws_kueue.workload import build, recreate, shape
from tests.kit.builders import builders
from tests.kit.tables import edits
from tests.kit.tables.edits import Edit, Json

FLAVORS = {
    "default": builders.flavor(),
    "spot": kueue.ResourceFlavor.of(
        {"metadata": {"name": "spot"}, "spec": {"nodeTaints": [dict(edits.SPOT_TAINT)]}}
    ),
}
CLASSES = build.PriorityClasses(
    workload={
        edits.WORKLOAD_CLASS: kueue.WorkloadPriorityClass.of(
            {"metadata": {"name": edits.WORKLOAD_CLASS}, "value": 5}
        )
    },
    pod={
        name: kueue.PriorityClass.of({"metadata": {"name": name}, "value": value})
        for name, value in edits.POD_CLASSES.items()
    },
)


def stored(obj: Json) -> lws.LeaderWorkerSet:
    return lws.LeaderWorkerSet.of(obj | {"metadata": {**obj["metadata"], "uid": "set-uid"}})


def admitted(obj: Json) -> kueue.Workload:
    """The Workload of the set's first group, as it is once Kueue has admitted it."""
    body = build.workload(stored(obj), 0, classes=CLASSES, options=builders.OPTIONS)
    assert isinstance(body, dict), body
    conditions = [builders.RESERVED, builders.ADMITTED]
    assigned = [builders.assigned(one["name"], one["count"]) for one in body["spec"]["podSets"]]
    admission = {"clusterQueue": "cq", "podSetAssignments": assigned}
    status = {"conditions": conditions, "admission": admission}
    return kueue.Workload.of(body | {"status": status})


def limit_range(name: str = "defaults", **entry: Any) -> completion.LimitRange:
    spec = {"limits": [{"type": "Container", **entry}]}
    return completion.LimitRange.of({"metadata": {"name": name}, "spec": spec})


def runtime_class(name: str, **overhead: str) -> completion.RuntimeClass:
    given = {"podFixed": overhead} if overhead else None
    return completion.RuntimeClass.of({"metadata": {"name": name}, "overhead": given})


LIGHT = runtime_class(edits.LIGHT_CLASS)
# What the clusters have in which the edits are made, and one that has nothing of it.
CLUSTER = completion.completions(
    [limit_range(defaultRequest=edits.DEFAULT_REQUESTS)],
    [LIGHT, runtime_class(edits.RUNTIME_CLASS, **edits.OVERHEAD)],
)
BARE = completion.completions([], [LIGHT, runtime_class(edits.RUNTIME_CLASS)])


def difference(old: Json, new: Json, completions: shape.Completions = CLUSTER) -> str | None:
    content = recreate.content(
        stored(new), "key", options=builders.OPTIONS, completions=completions
    )
    assert content.shape is not None
    return shape.difference(admitted(old), content.shape, flavors=FLAVORS, completions=completions)


def named(some: Sequence[Edit]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("edit", some, ids=[edit.name for edit in some])


def test_the_corpus_holds_at_least_thirty_edits_each_of_its_own_name() -> None:
    assert len(edits.EDITS) >= 30
    assert len({edit.name for edit in edits.EDITS}) == len(edits.EDITS)


@named(edits.EDITS)
def test_an_edit_changes_the_set_and_says_why(edit: Edit) -> None:
    assert edit.old != edit.new
    assert edit.why


@pytest.mark.row("P4")
@pytest.mark.parametrize("cluster", [CLUSTER, BARE], ids=["completed", "as-written"])
@named(edits.KEPT)
def test_an_edit_that_kueue_never_sees_keeps_the_workload(
    edit: Edit, cluster: shape.Completions
) -> None:
    assert difference(edit.old, edit.new, cluster) is None
    assert difference(edit.new, edit.old, cluster) is None, "taken back"


@pytest.mark.row("P4")
@named([edit for edit in edits.RENEWED if edit.completed and edit.name != "request-removed"])
def test_an_edit_that_the_cluster_gives_no_requests_keeps_the_workload(edit: Edit) -> None:
    assert difference(edit.old, edit.new, BARE) is None


@pytest.mark.row("P4")
@named(edits.RENEWED)
def test_an_edit_of_what_was_admitted_renews_the_workload(edit: Edit) -> None:
    assert difference(edit.old, edit.new) == edit.renewed
    assert difference(edit.new, edit.old) is not None, "taken back"


@named(edits.EDITS)
def test_what_nobody_edits_needs_no_other_admission(edit: Edit) -> None:
    for obj in (edit.old, edit.new):
        assert difference(obj, copy.deepcopy(obj)) is None


# What the cluster adds -----------------------------------------------------------------------


def with_init(obj: Json) -> Json:
    edits.first()(obj)
    return obj


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    ("ranges", "renewed"),
    [
        ([], None),
        ([limit_range(defaultRequest={"cpu": "100m", "memory": "16Mi"})], None),
        ([limit_range(default={"cpu": "100m"})], None),
        ([limit_range(defaultRequest={"cpu": "101m"})], edits.REQUESTS),
        ([limit_range(default={"cpu": "1"})], edits.REQUESTS),
        ([limit_range(default={"cpu": "1"}, defaultRequest={"cpu": "50m"})], None),
        ([limit_range(defaultRequest={"example.com/gpu": "1"})], None),
        ([limit_range("a", defaultRequest={"cpu": "1m"})] * 2, None),
        (
            # Nobody can tell which of the two Kueue takes.
            [limit_range(n, defaultRequest={"cpu": c}) for n, c in (("a", "1m"), ("b", "1"))],
            edits.REQUESTS,
        ),
        ([limit_range(type="Pod", max={"cpu": "1"})], None),
    ],
)
def test_an_init_container_without_requests_counts_if_a_limit_range_gives_it_more(
    ranges: list[completion.LimitRange], renewed: str | None
) -> None:
    cluster = completion.completions(ranges, [])
    assert difference(edits.base(), with_init(edits.base()), cluster) == renewed


@pytest.mark.row("P4")
def test_an_init_container_is_never_more_than_a_container_that_gets_the_same() -> None:
    old, new = edits.base(), edits.base()
    for obj in (old, new):
        edits.container(resources={})(obj)
    cluster = completion.completions([limit_range(defaultRequest={"cpu": "7"})], [])
    assert difference(old, with_init(new), cluster) is None


@pytest.mark.row("P4")
def test_a_runtime_class_that_nobody_knows_may_cost_anything() -> None:
    old, new = edits.base(), edits.base()
    edits.pod(runtimeClassName="unheard-of")(new)
    assert difference(old, new, BARE) == edits.REQUESTS
    assert difference(new, copy.deepcopy(new), BARE) is None


@pytest.mark.row("P4")
def test_what_is_no_quantity_is_compared_as_it_is_written() -> None:
    old, new = edits.base(), edits.base()
    edits.requests(cpu="9e999")(old)
    edits.requests(cpu="9e998")(new)
    assert difference(old, copy.deepcopy(old)) is None
    assert difference(old, new) == edits.REQUESTS


@pytest.mark.row("P4")
@pytest.mark.parametrize(
    ("old", "new", "shrinks"),
    [("100m", "90m", True), ("100m", "0.1", True), ("100m", "110m", False)],
)
def test_what_asks_for_less_is_told_by_the_same_sums(old: str, new: str, shrinks: bool) -> None:
    shapes = []
    for cpu, change in ((old, edits.nothing), (new, edits.first())):
        obj = edits.base()
        edits.all_of(edits.requests(cpu=cpu), change)(obj)
        content = recreate.content(stored(obj), "k", options=builders.OPTIONS, completions=BARE)
        assert content.shape is not None
        shapes.append(content.shape)
    assert shape.shrinks(*shapes) is shrinks


# Combinations -------------------------------------------------------------------------------

# Harmless edits that do not build on each other: any number of them can be made at once.
# Those that divide the requests of the base set anew are made for these requests.
DIVIDING = {
    "container-split-in-two",
    "pod-level-requests-that-equal-the-sum",
    "requests-moved-to-the-pod",
}
FREE = [e for e in edits.KEPT if e.before is edits.nothing and e.name not in DIVIDING]


@given(st.lists(st.sampled_from(FREE), min_size=2, max_size=6))
def test_harmless_edits_are_harmless_together(chosen: list[Edit]) -> None:
    obj = edits.base()
    for edit in chosen:
        edit.change(obj)
    assert difference(edits.base(), obj) is None


@given(
    st.lists(st.sampled_from(FREE), max_size=4),
    st.sampled_from([e for e in edits.RENEWED if e.name in ("cpu-up", "size-up", "memory-down")]),
    st.lists(st.sampled_from(FREE), max_size=4),
)
def test_no_harmless_edit_hides_one_that_is_not(
    before: list[Edit], edit: Edit, after: list[Edit]
) -> None:
    obj = edits.base()
    for one in (*before, edit, *after):
        if one.name != "quantities-respelled":
            one.change(obj)
    assert difference(edits.base(), obj) == edit.renewed


# Spellings ----------------------------------------------------------------------------------


def spellings(milli: int) -> list[Any]:
    """Ways to write an amount of cpu."""
    found: list[Any] = [f"{milli}m", f"{milli / 1000:.3f}", f"{milli}000u", f"{milli}e-3"]
    return [*found, str(milli // 1000), milli // 1000] if milli % 1000 == 0 else found


@given(st.integers(1, 64_000).flatmap(lambda m: st.tuples(*[st.sampled_from(spellings(m))] * 2)))
def test_an_amount_is_the_same_however_it_is_spelled(texts: tuple[Any, Any]) -> None:
    old, new = edits.base(), edits.base()
    edits.requests(cpu=texts[0])(old)
    edits.requests(cpu=texts[1])(new)
    assert difference(old, new) is None


@given(st.integers(1, 64_000), st.integers(1, 64_000))
def test_two_amounts_differ_in_both_directions_or_in_none(one: int, other: int) -> None:
    old, new = edits.base(), edits.base()
    edits.requests(cpu=f"{one}m")(old)
    edits.requests(cpu=f"{other}m")(new)
    expected = None if one == other else edits.REQUESTS
    assert difference(old, new) == difference(new, old) == expected


SAYING_NOTHING = {
    "nodeSelector": {},
    "tolerations": [],
    "initContainers": [],
    "affinity": {},
    "overhead": {},
    "resourceClaims": [],
    "priorityClassName": "",
    "resources": {},
}


@named(edits.EDITS)
def test_a_field_that_says_nothing_is_one_that_is_left_out(edit: Edit) -> None:
    new = edit.new
    for role in ("leaderTemplate", "workerTemplate"):
        spec = edits.group_of(new).get(role, {}).get("spec")
        if spec is not None:
            spec.update({k: copy.deepcopy(v) for k, v in SAYING_NOTHING.items() if k not in spec})
    assert difference(edit.new, new) is None
    assert difference(new, edit.new) is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"key": "k", "value": "v"}, {"key": "k", "operator": "Equal", "value": "v"}),
        ({"key": "k", "operator": "Exists"}, {"key": "k", "operator": "Exists", "value": ""}),
    ],
    ids=["operator-equal", "empty-value"],
)
def test_a_toleration_is_the_same_however_it_is_spelled(old: Json, new: Json) -> None:
    before, after = edits.base(), edits.base()
    edits.pod(tolerations=[old])(before)
    edits.pod(tolerations=[new])(after)
    assert difference(before, after) is None


def test_slices_are_placed_by_the_taints_of_nodes_even_where_nothing_else_is_asked_for() -> None:
    marks = {names.PODSET_SLICE_REQUIRED_TOPOLOGY: "rack", names.PODSET_SLICE_SIZE: "1"}
    old, new = edits.base(), edits.base()
    for obj in (old, new):
        edits.group_of(obj)["workerTemplate"]["metadata"] = {"annotations": marks}
    edits.pod(tolerations=[edits.HARMLESS])(new)
    assert difference(old, new) == "tolerations of podset main"


# Flavors ------------------------------------------------------------------------------------


def test_a_toleration_that_the_flavor_itself_gives_opens_nothing() -> None:
    given = kueue.ResourceFlavor.of(
        {
            "metadata": {"name": "spot"},
            "spec": {
                "nodeTaints": [dict(edits.SPOT_TAINT)],
                "tolerations": [dict(edits.SPOT)],
            },
        }
    )
    old, new = edits.base(), edits.base()
    edits.pod(tolerations=[edits.SPOT])(new)
    wanted = recreate.content(stored(new), "key", options=builders.OPTIONS).shape
    assert wanted is not None
    assert shape.difference(admitted(old), wanted, flavors={"spot": given}) is None


def test_taints_that_only_prefer_make_no_flavor_depend_on_a_toleration() -> None:
    taint = {**edits.SPOT_TAINT, "effect": "PreferNoSchedule"}
    mild = kueue.ResourceFlavor.of({"metadata": {"name": "m"}, "spec": {"nodeTaints": [taint]}})
    new = edits.base()
    edits.pod(tolerations=[edits.SPOT])(new)
    wanted = recreate.content(stored(new), "key", options=builders.OPTIONS).shape
    assert wanted is not None
    assert shape.difference(admitted(edits.base()), wanted, flavors={"m": mild}) is None


# What runs -----------------------------------------------------------------------------------


def test_a_workload_under_which_pods_of_this_revision_run_stays() -> None:
    old, new = edits.base(), edits.base()
    edits.requests(cpu="200m")(new)
    workload, content = (
        admitted(old),
        recreate.content(stored(new), "new", options=builders.OPTIONS),
    )
    marks = {names.WORKLOAD: workload.meta.name}

    def outdated(key: str, **given: Any) -> str | None:
        pod = builders.pod(labels={names.REVISION_KEY: key}, annotations=marks, **given)
        return recreate.outdated(workload, content, [pod], flavors=FLAVORS)

    assert outdated("new", gates=(), phase="Running") is None
    assert outdated("new") == edits.REQUESTS, "a gated pod runs under nothing"
    assert outdated("new", gates=(), phase="Failed") == edits.REQUESTS
    assert outdated("old", gates=(), phase="Running") == edits.REQUESTS


def test_topology_annotations_that_cannot_be_read_are_no_reason_to_give_quota_back() -> None:
    broken = edits.base()
    edits.topology(names.PODSET_UNCONSTRAINED_TOPOLOGY, "perhaps")(broken)
    content = recreate.content(stored(broken), "key", options=builders.OPTIONS)
    assert content.shape is None
    assert recreate.outdated(admitted(edits.base()), content, [], flavors=FLAVORS) is None
