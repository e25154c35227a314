"""How a story goes on: a step is over when something is seen; what changes meanwhile is shown."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from lws_kueue_lab import sandbox
from lws_kueue_lab.demo import picture, screen, watching

# A step takes a second or two; a busy machine may need longer, but never this long.
_STEP_SECONDS: Final = 90.0


class FailedError(Exception):
    """A step did not come to its end; the message says what was seen last."""


class Told(Protocol):
    """What a story looks at: a set, and what it says of itself."""

    def why_waiting(self) -> str:
        """Return what the set says about the groups that wait, in one line; "" for nothing."""


Seen = TypeVar("Seen", bound=Told)


@dataclass(frozen=True, slots=True)
class Telling(Generic[Seen]):
    """A story under way.

    - ``draw``: makes the table of what is seen.
    - ``check``: called again and again while something is waited for; raises what ends the story.
    - ``log_tail``: the end of the controller's log, for a story that does not come to its end.
    """

    show: screen.Screen
    watcher: watching.Watcher[Seen]
    draw: Callable[[Seen], picture.Picture]
    check: Callable[[], None]
    log_tail: Callable[[], str]

    def until(self, done: Callable[[Seen], bool], *, what: str) -> Seen:
        """Wait for the end of a step; raises FailedError with what was seen instead."""
        try:
            seen = self._watch(done, what=what, seconds=_STEP_SECONDS)
        except watching.NotSoError as error:
            last: Seen = error.seen
            text = report(
                str(error), shown=self.draw(last), says=last.why_waiting(), log=self.log_tail()
            )
            raise FailedError(text) from error
        self.show.settle(self.draw(seen))
        return seen

    def let_read(self) -> None:
        """Leave a person the time to look, and show what changes meanwhile."""
        if self.show.reading_seconds:
            with contextlib.suppress(watching.NotSoError):
                self._watch(lambda _: False, what="", seconds=self.show.reading_seconds)

    def keep(self) -> None:
        """Show every change until Ctrl-C, which is how it is meant to end."""
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                with contextlib.suppress(watching.NotSoError):
                    self._watch(lambda _: False, what="", seconds=_STEP_SECONDS)
        self.show.say("Stopped; nothing of it stays.")

    def _watch(self, done: Callable[[Seen], bool], *, what: str, seconds: float) -> Seen:
        return self.watcher.until(
            done,
            what=what,
            seconds=seconds,
            changed=lambda seen: self.show.show(self.draw(seen)),
            check=self.check,
        )


def report(what: str, *, shown: picture.Picture, says: str, log: str) -> str:
    """Say what was waited for, what was seen last, and what the controller said."""
    return "\n".join(
        (
            f"{what}. Seen last:",
            *screen.plain(shown),
            f"The set says: {says or 'nothing waits for admission'}",
            "The end of the controller's log:",
            *(f"    {line}" for line in log.splitlines() or ["(nothing)"]),
        )
    )


@contextlib.contextmanager
def notices(show: screen.Screen) -> Iterator[None]:
    """Say what the sandbox warns of, such as that a stand-in decides instead of Kueue.

    Several clusters warn of the same, which is said once.
    """
    told: set[str] = set()

    class Teller(logging.Handler):
        # The handler's lock is held meanwhile, whichever thread it is that warns.
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if text not in told:
                told.add(text)
                show.say(text)

    handler = Teller(logging.WARNING)
    logger = logging.getLogger(sandbox.__name__)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
