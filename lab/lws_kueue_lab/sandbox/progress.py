"""How a long build or download shows that it is alive: a spinner on a terminal, lines in a log."""

import collections
import subprocess
import sys
import threading
import time
from types import TracebackType

import rich.console
import rich.status

from lws_kueue.api import printable

_LINE_EVERY_SECONDS = 15.0
_TAIL_LINES = 20


class Progress:
    """The progress of one build or download, on standard error.

    `title` names the work and `hint` how long it may take.
    """

    def __init__(self, title: str, *, hint: str) -> None:
        self._title = title
        self._hint = hint
        self._packages = 0
        self._downloads = 0
        self._bytes = 0
        self._started = time.monotonic()
        self._console = rich.console.Console(stderr=True, highlight=False)
        self._status: rich.status.Status | None = None
        self._finished = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Progress":
        self._say(f"{self._title} ({self._hint})")
        if self._console.is_terminal:
            self._status = self._console.status(self._line())
            self._status.start()
        self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finished.set()
        self._ticker.join()
        if self._status is not None:
            self._status.stop()
        outcome = "done" if kind is None else "stopped"
        came = f", {self._bytes / (1 << 20):.1f} MiB" if self._bytes else ""
        self._say(f"{self._title}: {outcome} after {self._elapsed()}{came}")

    def follow(self, process: "subprocess.Popen[str]") -> list[str]:
        """Count what `go build -v` reports until it ends; returns its last lines."""
        assert process.stderr is not None
        tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        for line in process.stderr:
            text = line.rstrip()
            # Go repeats what a module proxy answered, and Docker what a registry did.
            tail.append(printable.brief(text))
            if text.startswith("go: downloading "):
                self._downloads += 1
            elif text and " " not in text:
                self._packages += 1
        return list(tail)

    def received(self, count: int) -> None:
        """Count bytes that came."""
        self._bytes += count

    def _tick(self) -> None:
        every = 0.5 if self._status is not None else _LINE_EVERY_SECONDS
        while not self._finished.wait(every):
            if self._status is not None:
                self._status.update(self._line())
            else:
                self._say(self._line())

    def _line(self) -> str:
        parts = [self._title]
        if self._packages:
            parts.append(f"{self._packages} packages compiled")
        if self._downloads:
            parts.append(f"{self._downloads} modules downloaded")
        if self._bytes:
            parts.append(f"{self._bytes / (1 << 20):.0f} MiB")
        return ", ".join([*parts, self._elapsed()])

    def _elapsed(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    def _say(self, text: str) -> None:
        # Not through rich, which would fold a line of a log at its idea of the width.
        print(f"[sandbox] {text}", file=sys.stderr, flush=True)
