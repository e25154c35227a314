"""Bodies of requests: revisions as Go writes them, everything fit to be read as YAML."""

import json

import pytest

from lws_kueue.runtime import encoding


def test_a_revision_is_written_as_a_go_program_would_write_it_again() -> None:
    data = {"spec": {"b": [1, 2], "a": "<&>", "$patch": "replace"}}
    body = {"kind": "ControllerRevision", "data": data}
    expected = (
        r'{"data":{"spec":{"$patch":"replace","a":"\u003c\u0026\u003e","b":[1,2]}},'
        r'"kind":"ControllerRevision"}'
    )
    assert encoding.dumps(body) == expected
    assert json.loads(expected) == body


@pytest.mark.parametrize("text", ["é", "😀", "\x7f", "\x85", "\u2028", "\ufeff", "\uffff", 'a"\\'])
def test_any_text_comes_through(text: str) -> None:
    written = encoding.dumps({"annotation": text})
    assert json.loads(written) == {"annotation": text}
    assert r"\ud" not in written, "YAML knows no halves of characters"
    assert all(character.isprintable() for character in written)
