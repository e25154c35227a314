"""The screens in docs/kubectl.md are what the commands print.

With LWS_KUEUE_RECORD_SCREENS=1 they are written anew.
"""

import os
import re
import shlex
from pathlib import Path

import pytest
from click import testing

from lws_kueue.kubectl import command
from tests.kubectl import server as servers
from tests.kubectl import test_screens as screens

DOCUMENT = Path(__file__).parents[2] / "docs" / "kubectl.md"
SCREEN = re.compile(
    r"```console\n\$ kubectl lws (?P<command>[^\n]*)\n(?P<output>.*?)```", re.DOTALL
)
# What these tell of is an update that is done.
AFTER_AN_UPDATE = ("rollout history", "rollout undo")
WITHOUT_A_SCREEN = {"start", "logs", "dashboard"}


def test_the_screens_of_the_document_are_what_the_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DOCUMENT.read_text()

    def run(found: re.Match[str]) -> str:
        arguments = shlex.split(found["command"])
        result = testing.CliRunner().invoke(command.main, arguments)
        assert result.exit_code == 0, result.output
        return f"```console\n$ kubectl lws {found['command']}\n{result.stdout}```"

    def after_an_update(found: re.Match[str]) -> bool:
        return found["command"].startswith(AFTER_AN_UPDATE)

    with servers.of(screens.half_admitted(), tmp_path, monkeypatch):
        printed = SCREEN.sub(lambda one: one[0] if after_an_update(one) else run(one), text)
    with servers.of(screens.updated(), tmp_path, monkeypatch):
        printed = SCREEN.sub(lambda one: run(one) if after_an_update(one) else one[0], printed)
    if os.environ.get("LWS_KUEUE_RECORD_SCREENS"):
        DOCUMENT.write_text(printed)
    assert printed == DOCUMENT.read_text()


def test_the_document_tells_of_every_command() -> None:
    text = DOCUMENT.read_text()
    shown = {found["command"].split()[0] for found in SCREEN.finditer(text)}
    assert shown == {*command.COMMANDS} - WITHOUT_A_SCREEN
    assert all(f"`{name}`" in text or f"lws {name}" in text for name in WITHOUT_A_SCREEN)
