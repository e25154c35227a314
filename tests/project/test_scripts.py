"""The programs on the PATH: what they are, and a Ctrl-C before they have begun."""

import os
import subprocess
import sys
import tomllib

import pytest

from tests.project.test_project import ROOT, text

SCRIPTS = tomllib.loads(text("pyproject.toml"))["project"]["scripts"]

# Runs what an installation makes of an entry point, and is interrupted where a module is imported.
INTERRUPTED = """\
import importlib, os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["program", *{words!r}]
module, _, function = {script!r}.partition(":")
sys.exit(getattr(importlib.import_module(module), function)())
"""


@pytest.mark.parametrize(
    ("name", "words", "module"),
    [
        ("lws-kueue", ["--help"], "lws_kueue.cli"),
        ("lws-kueue", ["--help"], "lws_kueue.manager.command"),
        ("lws-kueue", ["demo", "--help"], "lws_kueue_lab.demo.command"),
        ("lws-kueue", ["status", "--help"], "lws_kueue.kubectl.status"),
        ("kubectl-lws", ["--help"], "lws_kueue.kubectl.command"),
        ("kubectl-lws", ["status", "--help"], "lws_kueue.kubectl.status"),
        ("kubectl_complete-lws", [""], "lws_kueue.kubectl.completion"),
    ],
)
def test_a_program_that_is_interrupted_while_it_is_loaded_ends_without_a_word(
    name: str, words: list[str], module: str
) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-c"),
            INTERRUPTED.format(module=module, script=SCRIPTS[name], words=words),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'lab'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_every_program_is_one_of_those_that_are_interrupted_here() -> None:
    assert {"lws-kueue", "kubectl-lws", "kubectl_complete-lws"} == set(SCRIPTS)
