"""Writes docs/reference.md, what every event, condition and reason means: `make reference`."""
