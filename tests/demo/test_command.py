"""How `lws-kueue demo` ends."""

import contextlib
import os
import signal
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from lws_kueue_lab.demo import command, screen, story
from lws_kueue_lab.demo.multikueue import story as several_clusters


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("dropped", [False, True], ids=["raised", "dropped by what was running"])
def test_a_signal_ends_the_demo_with_its_number(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, dropped: bool
) -> None:
    def tell(
        show: screen.Screen, *, keep: bool, kueue_mode: str, check: Callable[[], None]
    ) -> None:
        # A finalizer that runs just then swallows every exception.
        with contextlib.suppress(KeyboardInterrupt) if dropped else contextlib.nullcontext():
            os.kill(os.getpid(), number)
        assert dropped
        check()

    monkeypatch.setattr(story, "tell", tell)
    before = signal.getsignal(number)
    outcome = CliRunner().invoke(command.demo_command)
    assert (outcome.exit_code, outcome.output) == (
        128 + number,
        "Interrupted: everything is stopped.\n",
    )
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(
    ("arguments", "told"), [([], "one"), (["--multikueue"], "several"), (["--keep"], "one")]
)
def test_which_story_is_told_is_for_the_command_line_to_say(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    def telling(name: str) -> Callable[..., None]:
        return lambda show, **_: show.line(name)

    monkeypatch.setattr(story, "tell", telling("one"))
    monkeypatch.setattr(several_clusters, "tell", telling("several"))
    outcome = CliRunner().invoke(command.demo_command, arguments)
    assert (outcome.exit_code, outcome.output) == (0, f"{told}\n")


def test_a_demo_that_nobody_interrupts_tells_its_story_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tell(
        show: screen.Screen, *, keep: bool, kueue_mode: str, check: Callable[[], None]
    ) -> None:
        check()
        show.line("told")

    monkeypatch.setattr(story, "tell", tell)
    outcome = CliRunner().invoke(command.demo_command)
    assert (outcome.exit_code, outcome.output) == (0, "told\n")
