"""What keeps a group from going on, in words that name the object to change."""

from dataclasses import dataclass

from lws_kueue.api import actions


@dataclass(frozen=True, slots=True)
class Problem:
    """A situation that somebody has to change; ``reason`` is the reason of its event."""

    reason: str
    message: str

    @property
    def event(self) -> actions.Event:
        """The Warning event that tells the owner of the set."""
        return actions.Event("Warning", self.reason, self.message)


@dataclass(frozen=True, slots=True)
class PriorityClassMissing(Problem):
    """The class that a group's priority comes from does not exist; nothing is written for it."""
