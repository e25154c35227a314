"""Writes docs/reference.md: `python -m tools.reference`."""

from tools.reference import document

document.PLACE.write_text(document.text(), encoding="utf-8")
