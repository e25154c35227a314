"""Turns: nobody waits behind all that somebody else has to do."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lws_kueue.runtime import keys, turns
from tests.kit.examples import examples


def test_namespaces_take_turns_and_so_do_the_sets_of_one() -> None:
    waiting: turns.Turns[str] = turns.Turns()
    for item in ("a/x1", "a/x2", "a/x3", "a/y1", "b/z1"):
        namespace, name = item[0], item[2]
        waiting.put(item, namespace=namespace, name=name)
    taken = [waiting.take() for _ in range(5)]
    assert taken == ["a/x1", "b/z1", "a/y1", "a/x2", "a/x3"]
    assert not waiting
    with pytest.raises(LookupError):
        waiting.take()


def test_who_comes_late_waits_for_one_of_each_other_namespace() -> None:
    waiting: turns.Turns[str] = turns.Turns()
    for number in range(1000):
        waiting.put("theirs", namespace="hostile", name=f"set-{number}")
    waiting.take()
    waiting.put("ours", namespace="quiet", name="set")
    assert [waiting.take() for _ in range(2)] == ["theirs", "ours"]


HOSTILE, QUIET = keys.SetKey("hostile", "set"), keys.SetKey("quiet", "set")


def test_a_slot_goes_to_whose_turn_it_is_and_never_to_more_than_there_are() -> None:
    async def scenario() -> None:
        slots, order, inside = turns.Slots(2), list[str](), 0

        async def work(key: keys.SetKey) -> None:
            nonlocal inside
            async with slots.of(key):
                inside += 1
                assert inside <= 2
                order.append(key.namespace)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(work(HOSTILE) for _ in range(100)), work(QUIET))
        assert len(order) == 101
        # Two had slots from the beginning, and one more of them its turn.
        assert order.index("quiet") <= 3

    asyncio.run(scenario())


def test_a_slot_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    async def scenario() -> None:
        slots, held = turns.Slots(1), asyncio.Event()

        async def hold() -> None:
            async with slots.of(HOSTILE):
                await held.wait()

        async def want() -> None:
            async with slots.of(QUIET):
                pass

        holding = asyncio.create_task(hold())
        await asyncio.sleep(0)
        given, waiting = asyncio.create_task(want()), asyncio.create_task(want())
        await asyncio.sleep(0)
        waiting.cancel()
        held.set()
        await holding
        # It has been given a slot by now and has not run yet.
        given.cancel()
        await asyncio.gather(given, waiting, return_exceptions=True)
        async with asyncio.timeout(5):
            await want()

    asyncio.run(scenario())


def test_what_is_more_urgent_goes_first_in_a_namespace_and_among_them() -> None:
    waiting: turns.Turns[str] = turns.Turns()
    for item in ("a/x3", "a/x1", "b/z2", "a/y1", "b/z0"):
        waiting.put(item, namespace=item[0], name=item[2], urgency=int(item[3]))
    taken = [waiting.take() for _ in range(5)]
    assert taken == ["b/z0", "a/x1", "a/y1", "b/z2", "a/x3"]


def test_what_is_asked_for_by_one_set_as_urgent_as_the_rest_stays_in_its_order() -> None:
    waiting: turns.Turns[int] = turns.Turns()
    for number in range(20):
        waiting.put(number, namespace="a", name="x", urgency=2)
    assert [waiting.take() for _ in range(20)] == list(range(20))


@pytest.mark.parametrize("where", [("hostile", "set"), ("quiet", "other"), ("quiet", "set")])
def test_whatever_waits_is_overtaken_a_few_times_and_no_more(where: tuple[str, str]) -> None:
    waiting: turns.Turns[str] = turns.Turns()
    namespace, name = where
    waiting.put("ours", namespace="quiet", name="set", urgency=4)
    taken: list[str] = []
    while "ours" not in taken:
        for urgency in range(4):
            waiting.put("theirs", namespace=namespace, name=name, urgency=urgency)
        taken.append(waiting.take())
        assert len(taken) < 100
    assert turns.MOST_OVERTAKEN <= len(taken) - 1 <= turns.MOST_OVERTAKEN + 1


@examples(200)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=80
    )
)
def test_nothing_waits_for_longer_than_all_others_could_overtake_it(
    asked: list[tuple[int, int, int]],
) -> None:
    waiting: turns.Turns[int] = turns.Turns()
    for number, (namespace, name, urgency) in enumerate(asked):
        waiting.put(number, namespace=namespace, name=name, urgency=urgency)
    taken = [waiting.take() for _ in asked]
    assert sorted(taken) == list(range(len(asked)))
    assert not waiting
    namespaces = len({namespace for namespace, _, _ in asked})
    seen: set[int] = set()
    for turn, number in enumerate(taken):
        # Each namespace has had its first turn after so many.
        if (namespace := asked[number][0]) not in seen:
            seen.add(namespace)
            assert turn <= turns.MOST_OVERTAKEN + namespaces


def test_one_set_and_one_namespace_have_not_all_slots() -> None:
    async def scenario() -> None:
        slots = turns.Slots(8, of_namespace=6, of_set=4)
        inside: list[tuple[str, str]] = []
        over = asyncio.Event()

        async def work(key: tuple[str, str]) -> None:
            async with slots.of(key):
                inside.append(key)
                await over.wait()

        keys_ = [("hostile", "a"), ("hostile", "b"), ("quiet", "c")]
        working = [asyncio.create_task(work(key)) for key in keys_ for _ in range(5)]
        for _ in range(5):
            await asyncio.sleep(0)
        assert [inside.count(key) for key in keys_] == [4, 2, 2]
        over.set()
        await asyncio.gather(*working)
        assert [inside.count(key) for key in keys_] == [5, 5, 5]

    asyncio.run(scenario())


def test_slots_are_given_by_urgency() -> None:
    async def scenario() -> None:
        slots, order = turns.Slots(1), list[int]()

        async def work(urgency: int) -> None:
            async with slots.of(QUIET, urgency=urgency):
                order.append(urgency)

        async with slots.of(HOSTILE):
            working = [asyncio.create_task(work(urgency)) for urgency in (4, 3, 1, 2, 0)]
            await asyncio.sleep(0)
        await asyncio.gather(*working)
        assert order == [0, 1, 2, 3, 4]

    asyncio.run(scenario())
