import fractions

import hypothesis
import pytest
from hypothesis import strategies

from lws_kueue.api import quantity


@pytest.mark.parametrize(
    ("resource", "text", "amount"),
    [
        ("cpu", "100m", 100),
        ("cpu", "2", 2000),
        ("cpu", 1, 1000),
        ("cpu", "1.5", 1500),
        ("cpu", "1u", 1),
        ("memory", "1Gi", 2**30),
        ("memory", "1G", 10**9),
        ("memory", "1.5Ki", 1536),
        ("memory", "100m", 1),
        ("nvidia.com/gpu", "8", 8),
        ("nvidia.com/gpu", "1k", 1000),
        ("pods", "1e3", 1000),
    ],
)
def test_quantities_are_counted_in_whole_units_and_cpu_in_thousandths(
    resource: str, text: object, amount: int
) -> None:
    assert quantity.parse(resource, text) == amount


@pytest.mark.parametrize("text", ["", "x", "1Zi", "m"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse("cpu", text)


@pytest.mark.parametrize(
    ("resource", "amount", "text"),
    [
        ("cpu", 300, "300m"),
        ("cpu", 2000, "2"),
        ("cpu", 2000000, "2k"),
        ("memory", 2**30, "1Gi"),
        ("memory", 1500, "1500"),
        ("hugepages-2Mi", 2**21, "2Mi"),
        ("nvidia.com/gpu", 24, "24"),
        ("nvidia.com/gpu", 0, "0"),
    ],
)
def test_amounts_are_written_as_the_api_server_would(resource: str, amount: int, text: str) -> None:
    assert quantity.render(resource, amount) == text


@hypothesis.given(
    strategies.sampled_from(["cpu", "memory", "nvidia.com/gpu"]),
    strategies.integers(min_value=0, max_value=10**15),
)
def test_writing_and_reading_an_amount_changes_nothing(resource: str, amount: int) -> None:
    assert quantity.parse(resource, quantity.render(resource, amount)) == amount


@hypothesis.given(strategies.decimals(min_value=0, max_value=10**9, places=4))
def test_parsing_rounds_up_and_never_by_a_whole_unit(value: object) -> None:
    exact = fractions.Fraction(str(value)) * 1000
    assert 0 <= quantity.parse("cpu", value) - exact < 1
