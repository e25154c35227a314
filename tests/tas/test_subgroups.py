"""Slices that keep subgroups whole, those that cut them, and what is said about the latter."""

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import lws
from lws_kueue.tas import assignment, ranks, subgroups
from tests.kit.tables import cases

RACK, HOST = cases.RACK, cases.HOST


def slices(size: int) -> dict[str, str]:
    return {cases.SLICE: RACK, cases.SIZE: str(size)}


def layers(*sizes: int) -> dict[str, str]:
    asked = [{"topology": f"level-{n}", "size": size} for n, size in enumerate(sizes)]
    return {cases.LAYERS: json.dumps(asked)}


def spec(
    size: int,
    of: int | None,
    marks: dict[str, str],
    *,
    leader: bool = False,
    excluded: bool = False,
) -> lws.Spec:
    template: dict[str, Any] = {
        "size": size,
        "workerTemplate": {"metadata": {"annotations": marks}},
        "leaderTemplate": {} if leader else None,
    }
    if of is not None:
        kind = "LeaderExcluded" if excluded else "LeaderWorker"
        template["subGroupPolicy"] = {"subGroupSize": of, "subGroupPolicyType": kind}
    return lws.Spec.model_validate({"leaderWorkerTemplate": template})


@pytest.mark.row("UT-27")
@pytest.mark.parametrize(
    ("size", "of", "worker", "index"), [(4, 2, 2, 1), (5, 2, 2, 0), (3, 1, 1, 1), (3, 1, 2, 2)]
)
def test_a_worker_is_in_the_subgroup_that_its_label_says(
    size: int, of: int, worker: int, index: int
) -> None:
    policy = spec(size, of, {}).leader_worker_template.sub_group_policy
    assert policy is not None
    assert subgroups.index_of(policy, size=size, worker=worker) == index


@pytest.mark.parametrize(
    ("given_spec", "ranks_"),
    [
        (spec(4, 2, {}), (0, 0, 1, 1)),
        (spec(5, 2, {}), (0, 0, 0, 1, 1)),  # The leader is one more in the first.
        (spec(5, 2, {}, excluded=True), (None, 0, 0, 1, 1)),
        (spec(5, 2, {}, excluded=True, leader=True), (0, 0, 1, 1)),
        (spec(4, 2, {}, leader=True), (0, 1, 1)),  # Beside the leader, which is elsewhere.
        (spec(4, None, {}), ()),
    ],
)
def test_ranks_are_those_of_the_podset_with_the_workers(
    given_spec: lws.Spec, ranks_: tuple[int | None, ...]
) -> None:
    assert subgroups.of_podset(given_spec.leader_worker_template) == ranks_


@pytest.mark.parametrize(
    "aligned",
    [
        spec(8, 4, slices(4)),
        spec(8, 2, slices(4)),
        spec(8, 4, slices(8)),
        spec(9, 4, slices(4), leader=True, excluded=True),
        spec(9, 4, slices(4), leader=True),
        spec(8, 1, slices(1)),
        spec(8, 4, layers(8, 4, 1)),  # The hosts are not meant.
        spec(8, 8, layers(8, 2)),
        spec(5, 2, slices(5)),
        # Nothing to judge.
        spec(8, 4, {}),
        spec(8, 4, {cases.REQUIRED: RACK}),
        spec(8, None, slices(2)),
        # Told as the fault that it is.
        spec(8, 4, slices(3)),
        spec(8, 4, {cases.LAYERS: "["}),
    ],
)
def test_slices_that_keep_subgroups_whole_are_not_spoken_of(aligned: lws.Spec) -> None:
    assert subgroups.cut(aligned) is None


@pytest.mark.parametrize(
    ("cutting", "key", "size", "fitting"),
    [
        (spec(8, 4, slices(2)), cases.SIZE, 2, 4),
        (spec(12, 4, slices(6)), cases.SIZE, 6, 4),
        (spec(9, 4, slices(2), leader=True, excluded=True), cases.SIZE, 2, 4),
        (spec(9, 4, slices(3), excluded=True), cases.SIZE, 3, 9),
        (spec(9, 3, slices(2), leader=True), cases.SIZE, 2, 8),
        (spec(8, 4, layers(2, 1)), cases.LAYERS, 2, 4),
    ],
)
def test_slices_that_cut_a_subgroup_are_named_with_a_size_that_does_not(
    cutting: lws.Spec, key: str, size: int, fitting: int
) -> None:
    found = subgroups.cut(cutting)
    assert found is not None
    assert (found.layer.key, found.layer.size, found.fitting) == (key, size, fitting)
    of = cutting.leader_worker_template.sub_group_policy
    assert of is not None
    text = str(found)
    assert text.startswith(f"spec.leaderWorkerTemplate.workerTemplate.metadata.annotations[{key}]:")
    assert f"slices of {size} pods cut subgroups of {of.sub_group_size} in two" in text
    assert f"slices of {fitting} keep every subgroup in one" in text


@st.composite
def sliced(draw: st.DrawFn) -> lws.Spec:
    """A set with subgroups as the API takes them, and slices that divide its workers' podset."""
    of, many = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    excluded, leader = draw(st.booleans()), draw(st.booleans())
    size = of * many + (1 if excluded or draw(st.booleans()) else 0)
    count = size - leader
    sizes = [n for n in range(1, count + 1) if count % n == 0] or [1]
    return spec(size, of, slices(draw(st.sampled_from(sizes))), leader=leader, excluded=excluded)


@st.composite
def whole_slices(draw: st.DrawFn, count: int, size: int) -> list[assignment.Domain]:
    """An assignment of hosts in racks, whose racks have whole slices, in the order of ranks."""
    domains: list[assignment.Domain] = []
    rack, left = 0, count
    while left:
        pods = size * draw(st.integers(1, left // size))
        left -= pods
        while pods:
            n = draw(st.integers(1, pods))
            pods -= n
            values = {RACK: f"r{rack}", HOST: f"h{len(domains)}"}
            domains.append(assignment.Domain(values, n))
        rack += 1
    return domains


@given(sliced(), st.data())
def test_every_subgroup_of_an_aligned_set_is_in_one_domain_of_its_slices(
    given_spec: lws.Spec, data: st.DataObject
) -> None:
    template = given_spec.leader_worker_template
    of_rank = subgroups.of_podset(template)
    first = 0 if template.leader_template is None else 1
    found = subgroups.cut(given_spec)
    (layer,) = subgroups.layers_of(template.worker_template)
    size = layer.size if found is None else found.fitting
    if not of_rank:
        return  # A leader alone.

    domains = data.draw(whole_slices(len(of_rank), size))
    pods = [ranks.RankedPod(str(r), first + r) for r in range(len(of_rank))]
    placed = ranks.place(domains, pods, count=len(pods), start=first).domains
    racks: defaultdict[int, set[str]] = defaultdict(set)
    for rank, subgroup in enumerate(of_rank):
        if subgroup is not None:
            racks[subgroup].add(placed[str(rank)].values[RACK])
    assert all(len(one) == 1 for one in racks.values())


@given(sliced())
def test_slices_that_are_named_may_put_a_subgroup_into_two_domains(given_spec: lws.Spec) -> None:
    found = subgroups.cut(given_spec)
    if found is None:
        return
    of_rank = subgroups.of_podset(given_spec.leader_worker_template)
    # Every slice in a rack of its own is one of the assignments that Kueue may choose.
    racks: defaultdict[int | None, set[int]] = defaultdict(set)
    for rank, subgroup in enumerate(of_rank):
        racks[subgroup].add(rank // found.layer.size)
    assert any(len(one) > 1 for subgroup, one in racks.items() if subgroup is not None)
