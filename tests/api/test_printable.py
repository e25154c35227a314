"""What others wrote, as it goes to a terminal."""

import pytest

from lws_kueue.api import printable


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain, é and 漢字", "plain, é and 漢字"),
        ("a\n\tb", "a\n\tb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\r\x07\x9b", r"\r\x07\x9b"),
        ("‮⁦​\ufeff", r"\u202e\u2066\u200b\ufeff"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\udcff", r"\udcff"),
        ("\U000e0041", r"\U000e0041"),
        # A space that keeps words together is one, and a backslash is no more than that.
        ("a\u00a0b \\x1b", "a\u00a0b \\x1b"),
    ],
)
def test_a_text_for_a_terminal_has_nothing_that_it_obeys_but_lines_and_tabs(
    text: str, told: str
) -> None:
    assert printable.escaped(text) == told
    assert printable.escaped(told) == told


def test_a_part_of_a_line_has_no_end_of_a_line_and_a_bounded_length() -> None:
    assert printable.brief("a\r\nb") == r"a\r\nb"
    assert printable.brief("x" * printable.MOST) == "x" * printable.MOST
    assert printable.brief("\x1b" * 7, 5) == r"\x1b" * 5 + "… (2 more characters)"
