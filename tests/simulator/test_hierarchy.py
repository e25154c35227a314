"""Quota in cohorts: what a queue may use, by its own quota and by what others lend."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.simulator import hierarchy, objects
from tests.kit.builders import cluster as build

CPU = ("f", "cpu")


def queue(name: str, cohort: str = "", **quota: str) -> objects.ClusterQueue:
    """Return a ClusterQueue; quota are the fields of its one resource."""
    made = build.cluster_queue(name, {"f": {"cpu": "0"}})
    made["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0] |= quota
    if cohort:
        made["spec"]["cohortName"] = cohort
    return objects.ClusterQueue.of(made)


def cohort(name: str, parent: str = "", **quota: str) -> objects.Cohort:
    """Return a Cohort with quota of its own if any is given."""
    spec: dict[str, Any] = {"parentName": parent} if parent else {}
    if quota:
        spec["resourceGroups"] = [build.resource_group({"f": {"cpu": "0"}})]
        spec["resourceGroups"][0]["flavors"][0]["resources"][0] |= quota
    return objects.Cohort.of({"metadata": {"name": name}, "spec": spec})


def tree(*some: objects.ClusterQueue | objects.Cohort) -> hierarchy.Tree:
    queues = {one.meta.name: one for one in some if isinstance(one, objects.ClusterQueue)}
    return hierarchy.Tree(queues, [one for one in some if isinstance(one, objects.Cohort)])


def of(cpu: int) -> dict[tuple[str, str], int]:
    return {CPU: cpu * 1000}


def available(found: hierarchy.Tree, name: str) -> int:
    return found.queues[name].available(CPU) // 1000


def test_a_queue_without_a_cohort_has_its_nominal_quota() -> None:
    found = tree(queue("a", nominalQuota="4"))
    found.queues["a"].use(of(3))
    assert available(found, "a") == 1
    assert found.queues["a"].limited_by(CPU) == "nominalQuota"


def test_queues_of_a_cohort_use_what_others_leave() -> None:
    found = tree(queue("a", "c", nominalQuota="4"), queue("b", "c", nominalQuota="2"))
    assert available(found, "a") == 6
    found.queues["b"].use(of(5))
    assert available(found, "a") == 1
    assert found.queues["a"].limited_by(CPU) == "cohort"


def test_a_borrowing_limit_bounds_what_is_used_of_others() -> None:
    found = tree(
        queue("a", "c", nominalQuota="4", borrowingLimit="1"), queue("b", "c", nominalQuota="9")
    )
    assert available(found, "a") == 5
    assert found.queues["a"].capacity(CPU) == 5000
    assert found.queues["a"].limited_by(CPU) == "borrowingLimit"


def test_what_is_not_lent_stays_with_its_queue() -> None:
    found = tree(
        queue("a", "c", nominalQuota="4"), queue("b", "c", nominalQuota="9", lendingLimit="2")
    )
    assert available(found, "a") == 6
    found.queues["a"].use(of(6))
    assert available(found, "b") == 7


def test_cohorts_above_lend_as_queues_do() -> None:
    found = tree(
        cohort("root", nominalQuota="1"),
        cohort("left", "root"),
        cohort("right", "root", nominalQuota="3", lendingLimit="1"),
        queue("a", "left", nominalQuota="2"),
        queue("b", "right", nominalQuota="2"),
    )
    # Two of its own, one of the root, and one of the five of the cohort beside.
    assert available(found, "a") == 4
    found.queues["a"].use(of(4))
    assert available(found, "b") == 4


def test_a_cohort_that_is_no_object_is_there_all_the_same() -> None:
    found = tree(queue("a", "named", nominalQuota="1"), queue("b", "named", nominalQuota="1"))
    assert available(found, "b") == 2


@pytest.mark.parametrize(("cpu", "level"), [(1, 0), (3, 1), (6, 2), (99, 2)])
def test_the_borrowing_level_is_the_height_of_the_cohort_that_has_enough(
    cpu: int, level: int
) -> None:
    found = tree(
        cohort("root", nominalQuota="3"),
        cohort("left", "root"),
        queue("a", "left", nominalQuota="2"),
        queue("b", "left", nominalQuota="2"),
    )
    assert found.queues["a"].borrowing_level(CPU, cpu * 1000)[0] == level


def test_of_a_circle_of_cohorts_nothing_is_reckoned() -> None:
    found = tree(cohort("x", "y"), cohort("y", "x"), queue("a", "x", nominalQuota="3"))
    assert found.circular == {"a"}
    assert available(found, "a") == 3


LIMIT = st.none() | st.integers(0, 9).map(str)


@st.composite
def trees(draw: st.DrawFn) -> hierarchy.Tree:
    """A root with cohorts below it, and queues anywhere."""
    names = ["root", *(f"c{n}" for n in range(draw(st.integers(0, 3))))]
    some: list[objects.ClusterQueue | objects.Cohort] = []
    for name in names:
        parent = "" if name == "root" else draw(st.sampled_from(names[: names.index(name)]))
        some.append(cohort(name, parent, **draw(quotas()) if parent else {"nominalQuota": "2"}))
    for number in range(draw(st.integers(1, 4))):
        some.append(queue(f"q{number}", draw(st.sampled_from(names)), **draw(quotas())))
    return tree(*some)


@st.composite
def quotas(draw: st.DrawFn) -> dict[str, str]:
    fields = {"nominalQuota": str(draw(st.integers(0, 9)))}
    for field in ("borrowingLimit", "lendingLimit"):
        if (limit := draw(LIMIT)) is not None:
            fields[field] = limit
    return fields


@given(trees(), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=12))
def test_usage_that_is_taken_back_leaves_everything_as_it_was(
    found: hierarchy.Tree, uses: list[tuple[int, int]]
) -> None:
    names = [*found.queues]
    before = {name: available(found, name) for name in names}
    done = [(names[at % len(names)], cpu) for at, cpu in uses]
    for name, cpu in done:
        found.queues[name].use(of(cpu))
    for name, cpu in reversed(done):
        found.queues[name].free(of(cpu))
    assert {name: available(found, name) for name in names} == before


@given(trees(), st.lists(st.integers(0, 3), max_size=30))
def test_who_takes_only_what_is_available_never_uses_more_than_there_is(
    found: hierarchy.Tree, turns: list[int]
) -> None:
    names = [*found.queues]
    for turn in turns:
        node = found.queues[names[turn % len(names)]]
        if node.available(CPU) >= 1000:
            node.use(of(1))
        assert node.usage.get(CPU, 0) <= max(node.capacity(CPU), 0)
    root = next(iter(found.queues.values())).root
    assert root.usage.get(CPU, 0) <= root.subtree.get(CPU, 0)
