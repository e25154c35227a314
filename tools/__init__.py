"""Generators of committed files; nothing in here is part of the installed package."""
