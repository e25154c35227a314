"""Which build this is: for `--version`, and for the user agent of every request (lws-contract 9.3).

The image sets the commit and the date in its environment; a checkout knows neither.
"""

import os
import platform
import sys
from typing import Final

import lws_kueue

COMMIT_VARIABLE: Final = "LWS_KUEUE_GIT_COMMIT"
DATE_VARIABLE: Final = "LWS_KUEUE_BUILD_DATE"

# The names that Go gives to machines, which is what people search access logs for.
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def user_agent() -> str:
    """Return the user agent in the shape that Kubernetes controllers use."""
    machine = platform.machine().lower()
    where = f"{sys.platform}/{_MACHINES.get(machine, machine)}"
    commit = os.environ.get(COMMIT_VARIABLE, "")[:7] or "unknown"
    return f"lws-kueue/{lws_kueue.__version__} ({where}) {commit}"


def describe() -> str:
    """Return what `--version` prints."""
    date = os.environ.get(DATE_VARIABLE) or "unknown"
    commit = os.environ.get(COMMIT_VARIABLE) or "unknown"
    return f"Version: {lws_kueue.__version__}\nBuild Date: {date}\nGit Commit: {commit}"
