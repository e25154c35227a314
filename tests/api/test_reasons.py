"""What conditions tell can be stored by an API server, however many groups wait."""

import random
import re

import hypothesis
import hypothesis.strategies as st

from lws_kueue.api import reasons
from lws_kueue.api.reasons import Reason
from tests.kit.examples import examples

GROUPS = 20_000
# As the definition of sets has it.
MOST = 32768


def waiting(text: str, groups: list[int], *, fix: str = "") -> Reason:
    return Reason("Pending", text, fix, groups=groups, waits=True)


def told(*found: Reason) -> str:
    condition = reasons.condition("WaitingForAdmission", found)
    assert condition is not None
    return condition.message


@hypothesis.settings(examples(100, few=20), derandomize=True, deadline=None)
@hypothesis.given(
    seed=st.integers(0, 2**32),
    share=st.floats(0.0001, 1),
    causes=st.integers(1, 8),
    said=st.sampled_from([0, 100, 5_000, MOST]),
)
def test_however_groups_are_admitted_the_condition_can_be_stored_and_counts_those_that_wait(
    seed: int, share: float, causes: int, said: int
) -> None:
    rng = random.Random(seed)
    left = [index for index in range(GROUPS) if rng.random() < share] or [0]
    dealt = [left[start::causes] for start in range(causes)]
    found = [waiting("x" * said, groups, fix="y" * said) for groups in dealt if groups]
    message = told(*found)
    assert len(message) <= MOST
    for reason, part in zip(found[: reasons.MOST_TOLD], message.split("; "), strict=False):
        numbers = part.split(":")[0]
        runs = re.findall(r"(\d+)(?:-(\d+))?(?=,| and|$)", numbers)
        more = re.search(r" and (\d+) more$", numbers)
        named = [(int(first), int(last or first)) for first, last in runs]
        count = sum(last - first + 1 for first, last in named) + int(more[1] if more else 0)
        assert len(named) <= reasons.MOST_RUNS
        assert count == len(reason.groups)


def test_runs_beyond_the_first_are_counted_by_groups() -> None:
    told_of = [index for run in range(22) for index in (3 * run, 3 * run + 1)]
    numbers = reasons.numbered(told_of)
    assert numbers.startswith("groups 0-1, 3-4, ")
    assert numbers.endswith(", 57-58 and 4 more")


def test_what_is_short_is_told_as_it_is() -> None:
    assert told(waiting("no quota", [3], fix="Ask for less")) == "group 3: no quota. Ask for less"


def test_a_long_text_leaves_room_for_what_to_do_about_it() -> None:
    message = told(waiting("x" * MOST, [3], fix="Ask for less"))
    assert message.endswith("x [...]. Ask for less")
    assert len(message) < 3_000
