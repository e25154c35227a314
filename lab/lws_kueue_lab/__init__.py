"""The laboratory: clusters on this machine, a stand-in for Kueue, the demo and the bench."""

import os
from pathlib import Path

import lws_kueue


def python_path() -> str:
    """Return where a child finds the very packages that run here, wherever they came from."""
    found = (Path(lws_kueue.__file__).parent.parent, Path(__file__).parent.parent)
    return os.pathsep.join(dict.fromkeys(map(str, found)))
