"""Turns: nobody waits behind all that somebody else has to do."""

import asyncio

import pytest

from lws_kueue.runtime import keys, turns


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
