"""What is remembered of one set is nothing to another one, nor to its successor."""

import dataclasses

from lws_kueue.api import actions, lws
from lws_kueue.controller import repairs
from lws_kueue.controller.observe import members, observed
from lws_kueue.runtime import keys, memory, repetition, writes
from tests.kit.builders import given
from tests.runtime.engine import live_set
from tests.runtime.test_status_writes import a_write

KEY = keys.SetKey("ns", "set")
OTHER = keys.SetKey("ns", "other")
HELD = actions.WriteKey(actions.Ref("v1", "Pod", "ns", "set-0"), "delete")
WARNING = actions.Event("Warning", "InvalidSpec", "no")
LOST = members.Departed(0, "leader", "workers", uid="w1", name="set-0-1")


def what_is_seen(*, gone: bool = False) -> observed.Observed:
    return observed.Observed(
        namespace="ns",
        name="set",
        lws=None if gone else lws.LeaderWorkerSet.of(live_set()),
        kueue=observed.Kueue(support="missing"),
    )


def all_of_a_set(memories: memory.Memories) -> memory.Memory:
    """The memory of a set of which everything is remembered that can be."""
    found = memories.of(KEY)
    found.members[0] = members.Members("leader", "workers", {}, pending=False)
    found.lost_pods["w1"] = LOST
    found.attempts = repairs.Attempts()
    found.warnings.due((WARNING,))
    found.status.due(a_write(1, settled=True))
    found.status.written()
    return found


def test_status_writes_do_not_wait_for_those_of_another_set_nor_of_a_former_self() -> None:
    memories = memory.Memories(status_interval=1.0, clock=lambda: 1000.0)
    all_of_a_set(memories)
    settled = actions.Plan(status=a_write(1, settled=True))
    assert memories.of(OTHER).due(settled) == (settled, None)
    assert memories.of(KEY).due(settled) == (actions.Plan(), 1.0)
    memories.learn(KEY, what_is_seen(gone=True), actions.Plan(), writes.Outcome())
    assert memories.of(KEY).due(settled) == (settled, None)


def test_a_set_that_is_gone_leaves_its_writes_behind_until_nothing_is_to_be_done_for_it() -> None:
    memories = memory.Memories(status_interval=1.0)
    before = all_of_a_set(memories)
    last = actions.Plan(held=(HELD,))
    memories.learn(KEY, what_is_seen(gone=True), last, writes.Outcome())
    after = memories.of(KEY)
    assert after.attempts == before.attempts
    assert after.members == {}
    assert after.warnings.due((WARNING,)) == ([WARNING], None)
    memories.learn(KEY, what_is_seen(gone=True), actions.Plan(), writes.Outcome())
    assert memories.of(KEY).attempts is None
    assert memories.of(KEY).lost_pods == {"w1": LOST}, "the next pass has not seen that yet"


def test_members_of_groups_that_are_not_there_any_more_are_forgotten() -> None:
    memories = memory.Memories(status_interval=1.0)
    before = all_of_a_set(memories)
    before.members |= dict.fromkeys(range(1, 1000), before.members[0])
    groups = [given.a_group(index) for index in (0, 3)]
    pods = {pod.meta.name: pod for group in groups for pod in group.pods}
    seen = dataclasses.replace(
        what_is_seen(),
        lws=given.an_lws(replicas=4),
        stateful_sets={given.NAME: given.a_leader_set()},
        pods=pods,
    )
    memories.learn(KEY, seen, actions.Plan(), writes.Outcome())
    assert set(before.members) == {0, 3}


def test_a_warning_is_sent_once_for_as_long_as_its_cause_lasts() -> None:
    now = [0.0]
    known = memory.Memories(status_interval=1.0, clock=lambda: now[0]).of(KEY)
    sent = []
    # A pass that does not see the cause for a moment does not make it a new one.
    for at, warnings in (
        (0.0, (WARNING,)),
        (100.0, (WARNING,)),
        (101.0, ()),
        (102.0, (WARNING,)),
        (103.0, ()),
        (103.0 + repetition.AWAY, (WARNING,)),
    ):
        now[0] = at
        sent.append(known.warnings.due(warnings)[0])
    assert sent == [[WARNING], [], [], [], [], [WARNING]]


def test_passes_in_a_row_that_rest_on_what_is_outdated_and_write_nothing_go_to_the_back_off() -> (
    None
):
    found = memory.Memories(status_interval=1.0).of(KEY)
    fruitless = writes.Outcome(stale=True)
    seen = what_is_seen(gone=False)
    for _ in range(2):
        found.learn(seen, actions.Plan(), fruitless)
        assert not found.lags, "a cache lags at times"
    found.learn(seen, actions.Plan(), fruitless)
    assert found.lags
    for good in (writes.Outcome(), writes.Outcome(stale=True, writes=1)):
        found.learn(seen, actions.Plan(), fruitless)
        assert found.lags
        found.learn(seen, actions.Plan(), good)
        assert not found.lags
        for _ in range(2):
            found.learn(seen, actions.Plan(), fruitless)


def test_a_warning_for_which_there_was_no_room_is_sent_by_a_later_pass() -> None:
    known = memory.Memories(status_interval=1.0).of(KEY)
    assert known.warnings.due((WARNING,)) == ([WARNING], None)
    known.warnings.not_sent(WARNING)
    assert known.warnings.due((WARNING,)) == ([WARNING], None)
    assert known.warnings.due((WARNING,)) == ([], None)
