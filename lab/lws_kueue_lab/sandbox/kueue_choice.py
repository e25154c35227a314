"""`--kueue`: the words by which a person chooses who decides about admission."""

from typing import Any, Final

import click

from lws_kueue_lab.sandbox import kueue_manager

HELP: Final = (
    "Which Kueue decides about admission: auto (a real one where there is one), real, stand-in, "
    "none, or a released version such as v0.19.2."
)

# What a person says, and how `kueue.start` calls it.
_WORDS: Final = {"auto": "auto", "real": "manager", "stand-in": "standin", "none": "none"}


class _KueueChoice(click.ParamType[str]):
    name = "auto|real|stand-in|none|VERSION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The mode of `kueue.start`; words that it knows already stay."""
        text = str(value)
        if text in _WORDS.values() or kueue_manager.is_version(text):
            return text
        if text not in _WORDS:
            self.fail(f"{text!r} is none of {self.name}", param, ctx)
        return _WORDS[text]


KUEUE_CHOICE: Final = _KueueChoice()
