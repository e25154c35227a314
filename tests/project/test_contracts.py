"""What a docstring cites of a contract (`lws-contract 4.3`) stands in docs/ under that number."""

import functools
import re

import pytest

from tests.project.test_project import ROOT, text, tracked
from tests.project.test_rows import AT_HOME, PROMISED, WHOLE_SYSTEM, ids_of

# A citation: sections, ranges of them, items of a section and ids of rows, up to any other word.
CITATION = re.compile(
    r"\b(lws|kueue)-contract\b,?"
    r"((?:[\s#,]|\band\b|\bto\b|\bitem \d+\b|\d+(?:\.\d+)*\b|\b[A-Z][A-Z0-9]*-?\d+\b|glossary)*)"
)
HEADING = re.compile(r"^##+ (\d+(?:\.\d+)*|Glossary)\b", re.MULTILINE)
ROW = r"[A-Z][A-Z0-9]*-?\d+"

# Sections that nobody cites and that others cannot be understood without.
CONTEXT = {"lws": {"4.2"}, "kueue": set[str]()}


def sections_of(citation: str) -> set[str]:
    """The sections of `3.2, 6.0 to 6.6 and 9`; ids of rows and items of sections are left out."""
    found = {"Glossary"} if "glossary" in citation else set[str]()
    citation = re.sub(r"item \d+|[#\s]+", " ", citation)
    for part in re.split(r",|\band\b", re.sub(rf"{ROW}( to {ROW})?", "", citation)):
        first, _, last = part.strip().partition(" to ")
        if not re.fullmatch(r"\d(\.\d+)*", first):  # Numbers of rows have two digits.
            continue
        chapter, _, low = first.rpartition(".")
        high = last.strip().removeprefix(f"{chapter}.") if last.strip() else low
        found |= {f"{chapter}.{n}" for n in range(int(low), int(high) + 1)} if chapter else {first}
    return found


def test_citations_are_read_as_people_write_them() -> None:
    told = sections_of(" 2.1 to 2.3, 7.2 item 7\n# and 5.1, R20 to R36, 9, CTL-05, 45 and 46")
    assert told == {"2.1", "2.2", "2.3", "5.1", "7.2", "9"}
    assert sections_of(" glossary") == {"Glossary"}


@functools.cache
def citations() -> dict[str, dict[str, str]]:
    """Contract to cited section to a file that cites it."""
    found: dict[str, dict[str, str]] = {"lws": {}, "kueue": {}}
    for path in tracked():
        if path.suffix not in (".py", ".yaml", ".md") or path.name.endswith("-contract.md"):
            continue
        for contract, what in CITATION.findall((ROOT / path).read_text(encoding="utf-8")):
            found[contract].update(dict.fromkeys(sections_of(what), str(path)))
    return found


def headings(contract: str) -> list[str]:
    return HEADING.findall(text(f"docs/{contract}-contract.md"))


@pytest.mark.parametrize("contract", ["lws", "kueue"])
def test_every_cited_section_of_a_contract_has_its_heading(contract: str) -> None:
    cited = citations()[contract]
    assert len(cited) > 30
    assert {s: cited[s] for s in cited.keys() - set(headings(contract))} == {}


@pytest.mark.parametrize("contract", ["lws", "kueue"])
def test_a_contract_has_no_section_that_nobody_cites(contract: str) -> None:
    found = headings(contract)
    cited = citations()[contract].keys() | CONTEXT[contract]
    idle = [s for s in found if s not in cited and not any(c.startswith(f"{s}.") for c in cited)]
    assert idle == []
    assert len(found) == len(set(found))


def test_the_contracts_say_what_each_acceptance_row_is_about() -> None:
    content = text("docs/lws-contract.md") + text("docs/kueue-contract.md")
    told = {row for one in re.findall(rf"{ROW}(?: to {ROW})?", content) for row in ids_of(one)}
    variants = {row for row in WHOLE_SYSTEM if row[-1] in "ab"}
    assert sorted(PROMISED - AT_HOME - variants - {"1.7", "MK-65"} - told) == []
