"""Topology assignments are read in every form that the API allows."""

from typing import Any

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from lws_kueue.api import kueue
from lws_kueue.tas import assignment
from tests.kit.tables import forms

HOST = "kubernetes.io/hostname"
RACK = "cloud.provider.com/rack"
BLOCK = "cloud.provider.com/block"

Domain = assignment.Domain


def decode(stored: dict[str, Any]) -> tuple[Domain, ...]:
    return assignment.decode(kueue.TopologyAssignment.model_validate(stored))


def test_a_universal_value_and_count_hold_for_every_domain_of_the_slice() -> None:
    stored = {
        "levels": [BLOCK, RACK],
        "slices": [
            {
                "domainCount": 2,
                "valuesPerLevel": [{"universal": "b1"}, {"individual": {"roots": ["r1", "r2"]}}],
                "podCounts": {"universal": 3},
            }
        ],
    }
    assert decode(stored) == (
        Domain({BLOCK: "b1", RACK: "r1"}, 3),
        Domain({BLOCK: "b1", RACK: "r2"}, 3),
    )


def test_individual_values_are_prefix_root_suffix_and_slices_follow_each_other() -> None:
    stored = {
        "levels": [HOST],
        "slices": [
            {
                "domainCount": 2,
                "valuesPerLevel": [
                    {"individual": {"prefix": "pool-a-", "suffix": ".local", "roots": ["9", "1"]}}
                ],
                "podCounts": {"individual": [1, 4]},
            },
            {
                "domainCount": 1,
                "valuesPerLevel": [{"universal": "node-0"}],
                "podCounts": {"universal": 2},
            },
        ],
    }
    decoded = decode(stored)
    assert [(domain.node, domain.count) for domain in decoded] == [
        ("pool-a-9.local", 1),
        ("pool-a-1.local", 4),
        ("node-0", 2),
    ]


@pytest.mark.parametrize(
    "part",
    [
        {"domainCount": 2, "valuesPerLevel": [{}], "podCounts": {"universal": 1}},
        {"domainCount": 2, "valuesPerLevel": [], "podCounts": {"universal": 1}},
        {
            "domainCount": 2,
            "valuesPerLevel": [{"individual": {"roots": ["a"]}}],
            "podCounts": {"universal": 1},
        },
        {
            "domainCount": 2,
            "valuesPerLevel": [{"universal": "a"}],
            "podCounts": {"individual": [1]},
        },
    ],
)
def test_a_slice_that_contradicts_itself_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(assignment.AssignmentError):
        decode({"levels": [HOST], "slices": [part]})


names = st.text(alphabet="ab-.0", min_size=1, max_size=6)


@st.composite
def assignments(draw: st.DrawFn) -> tuple[list[str], list[Domain]]:
    levels = draw(st.sampled_from([[HOST], [BLOCK, RACK], [BLOCK, RACK, HOST]]))
    values = st.fixed_dictionaries(dict.fromkeys(levels, names))
    domain = st.builds(Domain, values, st.integers(min_value=1, max_value=5))
    return levels, draw(st.lists(domain, max_size=8))


@given(assignments(), st.data())
def test_decoding_any_mix_of_forms_gives_the_domains(
    case: tuple[list[str], list[Domain]], data: st.DataObject
) -> None:
    levels, domains = case
    assert decode(data.draw(forms.encoded(levels, domains))) == tuple(domains)


def test_chance_writes_every_form_there_is() -> None:
    domains = [Domain({HOST: f"node-{n}.local"}, 1) for n in "ab"]

    written = [
        find(forms.encoded([HOST], domains), condition)
        for condition in (
            lambda stored: len(stored["slices"]) == 2,
            lambda stored: "individual" in stored["slices"][0]["podCounts"],
            lambda stored: "universal" in stored["slices"][0]["valuesPerLevel"][0],
            lambda stored: "prefix" not in str(stored) and "suffix" not in str(stored),
            lambda stored: "prefix" in str(stored) and "suffix" in str(stored),
        )
    ]
    assert all(decode(stored) == tuple(domains) for stored in written)
