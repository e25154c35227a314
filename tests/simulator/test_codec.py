"""The stand-in reads and writes topology assignments as the API describes them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api import kueue
from lws_kueue.simulator import codec
from lws_kueue.tas import assignment as product

LEVELS = ["block", "rack"]


def stored(*slices: dict[str, Any]) -> dict[str, Any]:
    return {"levels": LEVELS, "slices": list(slices)}


def part(count: int, *levels: Any, pods: Any) -> dict[str, Any]:
    return {"domainCount": count, "valuesPerLevel": list(levels), "podCounts": pods}


def roots(*values: str, **around: str) -> dict[str, Any]:
    return {"individual": {"roots": list(values)} | around}


def test_one_value_and_one_count_are_those_of_all_domains() -> None:
    found = codec.decode(
        stored(part(2, {"universal": "b"}, {"universal": "r"}, pods={"universal": 3}))
    )
    assert found == [(("b", "r"), 3), (("b", "r"), 3)]


def test_roots_stand_between_a_prefix_and_a_suffix() -> None:
    both = roots("1", "", prefix="rack-", suffix=".west")
    found = codec.decode(stored(part(2, roots("x", "y"), both, pods={"individual": [1, 4]})))
    assert found == [(("x", "rack-1.west"), 1), (("y", "rack-.west"), 4)]


def test_slices_follow_each_other_in_their_order() -> None:
    found = codec.decode(
        stored(
            part(1, {"universal": "z"}, {"universal": "9"}, pods={"universal": 1}),
            part(2, {"universal": "a"}, roots("2", "1"), pods={"individual": [2, 5]}),
        )
    )
    assert found == [(("z", "9"), 1), (("a", "2"), 2), (("a", "1"), 5)]


def test_an_assignment_without_slices_has_no_domains() -> None:
    assert codec.decode({"levels": LEVELS}) == []


UNIVERSAL = {"universal": "v"}


@pytest.mark.parametrize(
    "broken",
    [
        stored(part(1, UNIVERSAL, pods={"universal": 1})),
        stored(part(2, UNIVERSAL, roots("a"), pods={"universal": 1})),
        stored(part(1, UNIVERSAL, roots("a", "b"), pods={"universal": 1})),
        stored(part(2, UNIVERSAL, UNIVERSAL, pods={"individual": [1]})),
        stored(part(1, UNIVERSAL, {}, pods={"universal": 1})),
        stored(part(1, UNIVERSAL, UNIVERSAL, pods={})),
        stored({"domainCount": 1}),
        {"slices": []},
    ],
)
def test_what_contradicts_itself_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        codec.decode(broken)


def test_what_domains_share_is_written_once() -> None:
    domains = [(("b", "rack-1.west"), 2), (("b", "rack-2.west"), 2)]
    assert codec.encode(LEVELS, domains) == stored(
        part(
            2,
            UNIVERSAL | {"universal": "b"},
            roots("1", "2", prefix="rack-", suffix=".west"),
            pods={"universal": 2},
        )
    )


def test_a_prefix_and_a_suffix_share_no_letter() -> None:
    domains = [(("b", "aba"), 1), (("b", "ababa"), 2)]
    encoded = codec.encode(LEVELS, domains)
    (written,) = encoded["slices"]
    assert written["valuesPerLevel"][1] == roots("", "ba", prefix="aba")
    assert written["podCounts"] == {"individual": [1, 2]}
    assert codec.decode(encoded) == domains


VALUE = st.text("ab-", max_size=5)
DOMAINS = st.lists(st.tuples(st.tuples(VALUE, VALUE), st.integers(1, 4)), min_size=1, max_size=6)


@given(DOMAINS)
def test_what_is_written_is_read_again_here_and_by_the_product(
    domains: list[codec.Assigned],
) -> None:
    encoded = codec.encode(LEVELS, domains)
    assert codec.decode(encoded) == domains
    read = product.decode(kueue.TopologyAssignment.model_validate(encoded))
    assert [(tuple(one.values[level] for level in LEVELS), one.count) for one in read] == domains
