"""The two ways in which a release is not had, which differ in what may be done next."""

from typing import Final

from lws_kueue.api import printable
from lws_kueue_lab.sandbox import cluster

# More than they ever say by themselves, for several places that were asked.
_MOST: Final = 2000


class _NotHadError(cluster.ToolchainError):
    """What it says may quote a server, which is not to write to a terminal as it likes."""

    def __init__(self, text: str) -> None:
        super().__init__(printable.brief(text, _MOST))


class UnavailableError(_NotHadError):
    """It is not to be had there; whoever asks may try the next source."""


class IntegrityError(_NotHadError):
    """What came is not what it has to be. The run ends; no other source is tried."""
