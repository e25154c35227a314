"""docs/troubleshooting.md has a symptom for every reason why something does not happen."""

import re
from collections import Counter

from tests.project.test_project import text
from tools.reference import codes

CODE = re.compile(r"`([A-Z][A-Za-z]+)`")
# Names of conditions and Events that are told of while no group waits, or that say what was done.
DONE = {code.name for code in codes.CODES if code.where == ("Normal",)}


def test_every_reason_stands_at_one_symptom_and_no_other_word_is_told_as_one() -> None:
    named = Counter(CODE.findall(text("docs/troubleshooting.md")))
    reasons = {code.name for code in codes.CODES} - DONE
    assert set(named) - DONE == reasons
    assert {name: count for name, count in named.items() if count > 1} == {}
