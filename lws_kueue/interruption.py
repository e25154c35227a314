"""Ctrl-C while a program is still being loaded: nothing has begun, so it just ends."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Final

# As a shell tells that a program was interrupted.
STATUS: Final = 130


@contextlib.contextmanager
def ending_quietly() -> Iterator[None]:
    """End the program at a Ctrl-C with the status for that, without a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(STATUS)
