"""Names that StatefulSets give to their pods."""

import re

_NAME = re.compile(r"(.*)-([0-9]+)")


def parent_and_ordinal(name: str) -> tuple[str, int]:
    """Split a pod's name into its StatefulSet's name and its ordinal; ("", -1) if it has none."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else ("", -1)
