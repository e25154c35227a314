"""What was found out about facts is asked again of those that have changed, and of no others."""

from collections.abc import Mapping

import pytest
from hypothesis import given as from_strategy
from hypothesis import strategies as st

from lws_kueue.api import memos


class Fact:
    """Something that is told from what equals it."""

    def __init__(self, value: int) -> None:
        self.value = value


class Asking:
    """Asks for the values of facts that are at least so great, and notes of which."""

    def __init__(self) -> None:
        self.memo = memos.Memo()
        self.asked: list[int] = []

    def each(
        self, facts: Mapping[int, Fact], *others: Mapping[int, Fact], least: int = 0
    ) -> Mapping[int, int]:
        def derive(key: int, fact: Fact, *more: Fact | None) -> int | None:
            self.asked.append(key)
            value = fact.value + sum(one.value for one in more if one is not None)
            return value if value >= least else None

        return self.memo.each("value", derive, facts, *others, given=(least,))

    def again(self) -> list[int]:
        """Return what was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


ONE, TWO, THREE = Fact(1), Fact(2), Fact(3)


def test_what_is_the_same_object_is_asked_once_and_the_answer_stays_the_same_object() -> None:
    asking = Asking()
    first = asking.each({2: TWO, 1: ONE})
    assert (list(first.items()), asking.again()) == ([(1, 1), (2, 2)], [2, 1])
    assert asking.each({1: ONE, 2: TWO}) is first
    assert asking.each({1: ONE, 2: Fact(2)}) is first
    assert asking.again() == [2]


def test_what_has_changed_came_or_went_is_asked_alone_and_the_last_answer_stays_as_it_was() -> None:
    asking = Asking()
    first = asking.each({1: ONE, 3: THREE})
    asking.again()
    second = asking.each({2: TWO, 3: Fact(4)})
    assert asking.again() == [2, 3]
    assert list(second.items()) == [(2, 2), (3, 4)]
    assert list(first.items()) == [(1, 1), (3, 3)]


def test_what_is_said_nothing_of_is_left_out_until_something_else_is_given() -> None:
    asking = Asking()
    assert asking.each({1: ONE, 2: TWO}, least=2) == {2: 2}
    assert asking.each({1: ONE, 2: TWO}, least=2) == {2: 2}
    assert asking.again() == [1, 2]
    assert asking.each({1: ONE, 2: TWO}, least=1) == {1: 1, 2: 2}
    assert asking.again() == [1, 2]


def test_a_fact_is_asked_again_when_another_one_of_its_key_changes() -> None:
    asking = Asking()
    assert asking.each({1: ONE, 2: TWO}, {1: ONE}) == {1: 2, 2: 2}
    asking.again()
    assert asking.each({1: ONE, 2: TWO}, {2: TWO, 3: THREE}) == {1: 1, 2: 4}
    assert sorted(asking.again()) == [1, 2]


def test_anew_only_that_there_is_nothing_to_say_is_kept() -> None:
    memo, times = memos.Memo(), iter(range(10))
    asked: list[int] = []

    def derive(key: int, fact: Fact) -> int | None:
        asked.append(key)
        return next(times) if fact.value > 1 else None

    facts = {1: ONE, 2: TWO}
    assert memo.each("a", derive, facts, anew=True) == {2: 0}
    assert memo.each("a", derive, facts, anew=True) == {2: 1}
    assert asked == [1, 2, 2]


def test_after_an_error_all_is_asked_again() -> None:
    memo, fails = memos.Memo(), [False]

    def derive(_: int, fact: Fact) -> int:
        if fails[0]:
            raise ValueError
        return fact.value

    memo.each("a", derive, {1: ONE})
    fails[0] = True
    with pytest.raises(ValueError):
        memo.each("a", derive, {1: ONE, 2: TWO})
    fails[0] = False
    assert memo.each("a", derive, {1: ONE, 2: TWO}) == {1: 1, 2: 2}


def test_what_is_made_of_all_is_made_anew_when_one_is_another() -> None:
    memo = memos.Memo()
    made: list[int] = []

    def total(facts: Mapping[int, int], more: int) -> int:
        made.append(more)
        return sum(facts.values()) + more

    assert [memo.whole("t", total, {1: 1}, more) for more in (1, 1, 2)] == [2, 2, 3]
    assert memo.whole("t", total, {1: 2}, 2) == 4
    assert made == [1, 2, 2]


def test_a_decision_in_pieces_asks_everything_once_and_comes_to_the_same() -> None:
    memo, pieces = memos.Memo(), 0
    asked: list[int] = []

    def derive(key: int, fact: Fact) -> int | None:
        asked.append(key)
        return fact.value if fact.value > 1 else None

    def answer() -> Mapping[int, int]:
        memo.each("a", derive, facts)
        return memo.each("b", derive, facts, anew=True)

    facts, decision = {1: ONE, 2: TWO, 3: THREE}, object()
    found: Mapping[int, int] | None = None
    while found is None:
        pieces += 1
        try:
            with memo.pieces(decision, lambda: True):
                found = answer()
        except memos.Paused:
            continue
    assert found == {2: 2, 3: 3}
    assert asked == [1, 2, 3, 1, 2, 3]
    assert pieces > 2
    assert answer() == found
    assert asked[6:] == [2, 3], "the next decision asks what it has to ask anew"


def test_what_depends_on_the_time_is_asked_once_in_all_pieces_of_a_decision() -> None:
    memo, asked = memos.Memo(), iter(range(9))
    first, second = object(), object()
    found: list[int] = []
    for decision in (first, first, second):
        with memo.pieces(decision, lambda: False):
            found += [memo.once("a", lambda: next(asked)), memo.once("b", lambda: next(asked))]
    assert found == [0, 1, 0, 1, 2, 3]
    assert memo.once("a", lambda: next(asked)) == 4, "outside of a decision nothing is kept"


FACTS = st.dictionaries(st.integers(0, 8), st.sampled_from([ONE, TWO, THREE]))


@from_strategy(st.lists(st.tuples(FACTS, FACTS, st.integers(0, 4)), max_size=12))
def test_whatever_changes_the_answer_is_that_of_somebody_who_remembers_nothing(
    looks: list[tuple[dict[int, Fact], dict[int, Fact], int]],
) -> None:
    asking = Asking()
    for facts, others, least in looks:
        fresh = Asking().each(facts, others, least=least)
        assert list(asking.each(facts, others, least=least).items()) == list(fresh.items())
