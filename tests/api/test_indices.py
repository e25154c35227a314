"""Sets of indices kept as runs behave like sets of numbers, whatever they hold."""

from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.api.indices import Indices

SETS = st.frozensets(st.integers(0, 30))


@given(SETS, SETS)
def test_they_combine_as_sets_do(one: frozenset[int], other: frozenset[int]) -> None:
    mine, others = Indices(one), Indices(other)
    assert set(mine) == one
    assert len(mine) == len(one)
    assert bool(mine) == bool(one)
    assert set(mine | others) == one | other
    assert set(mine & other) == one & other
    assert set(mine - others) == one - other
    assert set(one | others) == one | other
    assert mine | others == Indices(one | other)
    assert hash(mine | others) == hash(Indices(one | other))
    assert [index in mine for index in range(32)] == [index in one for index in range(32)]
    assert mine.last() == max(one, default=None)


@given(SETS, st.integers(1, 40))
def test_the_number_behind_the_first_few(members: frozenset[int], count: int) -> None:
    first = sorted(members)[:count]
    assert Indices(members).past(count) == (first[-1] + 1 if len(first) == count else None)


@given(SETS, SETS)
def test_those_above_close_up_when_some_are_taken_out(
    members: frozenset[int], removed: frozenset[int]
) -> None:
    closed = {index - sum(gone < index for gone in removed) for index in members - removed}
    assert Indices(members).without(Indices(removed)) == Indices(closed)


def test_two_thousand_million_cost_as_much_as_one() -> None:
    vast = Indices(range(2**31 - 1)) - {5, 7}
    assert len(vast.runs) == 3
    assert len(vast) == 2**31 - 3
    assert vast.below(6) == Indices(range(5))
