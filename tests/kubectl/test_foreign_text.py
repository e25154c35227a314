"""What objects and API servers say is shown without obeying it."""

import click
import pytest
from click.testing import CliRunner

from lws_kueue import cli
from lws_kueue.install import install
from lws_kueue.kubectl import options, screen
from lws_kueue.runtime import asking, client

HOSTILE = "\x1b[2Jgone\x07"
SEEN = r"\x1b[2Jgone\x07"


def test_a_screen_shows_control_characters_of_objects_and_obeys_none() -> None:
    shown = screen.text(
        [
            screen.Line(HOSTILE),
            screen.Table(("HEAD",), ((HOSTILE,),)),
            screen.Facts(((HOSTILE, HOSTILE),)),
            screen.Tree(HOSTILE, (screen.Tree(HOSTILE),)),
        ]
    )
    assert "\x1b" not in shown
    assert shown.count(SEEN) == 6


def refusal() -> asking.ApiError:
    return asking.ApiError(status=500, reason=HOSTILE, message=HOSTILE, request="GET /apis")


def test_a_refusal_is_told_to_people_without_control_characters() -> None:
    @click.command
    @options.command
    def ask(where: options.Where) -> None:
        options.noted((HOSTILE,))
        raise refusal()

    told = CliRunner().invoke(ask)
    assert told.exit_code == 1
    assert told.output == f"{SEEN}\nkubectl lws: GET /apis: 500 {SEEN}: {SEEN}\n"


def test_install_tells_a_refusal_without_control_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def load(**_: object) -> client.Client:
        raise refusal()

    monkeypatch.setattr(client.Client, "load", load)
    monkeypatch.setattr(install, "install", None)
    told = CliRunner().invoke(cli.main, ["install"])
    assert told.exit_code == 1
    assert told.output == f"lws-kueue: GET /apis: 500 {SEEN}: {SEEN}\n"
