"""Names that StatefulSets give to their pods."""

import re
from functools import lru_cache

_NAME = re.compile(r"(.*)-([0-9]+)")


# Names come back in every pass; those of 10,000 pods take a few MiB.
@lru_cache(maxsize=32768)
def parent_and_ordinal(name: str) -> tuple[str, int]:
    """Split a pod's name into its StatefulSet's name and its ordinal; ("", -1) if it has none."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else ("", -1)
