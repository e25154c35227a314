"""The commands of docs/install.md, docs/upgrade.md and docs/uninstall.md do what is said there.

For each way to install, those of the three pages are run in their order, in a shell, on a cluster
of their own: the blocks below the headings that are for every way, and below the one of that way.
kwok only pretends to run the Deployment's pods.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import binaries

import lws_kueue
from lws_kueue.api import names
from tests.kit import commands, helm, polling
from tests.kit.live.kubectl import kubectl

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("process_only")]

PAGES: Final = ("install", "upgrade", "uninstall")
DEFINITION: Final = f"{names.LWS_PLURAL}.{names.LWS_GROUP}"
KINDS: Final = (
    *("clusterroles", "clusterrolebindings", "customresourcedefinitions"),
    *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
    *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
)


@dataclass(frozen=True, slots=True)
class Way:
    """How somebody installs: under which heading, and whether a controller then runs inside."""

    heading: str
    inside: bool
    helm: bool = False


WAYS: Final = [
    Way(heading="With Helm", inside=True, helm=True),
    Way(heading="With kustomize", inside=True),
    Way(heading="With the command, from outside", inside=False),
]
# The answer to a set for some seconds after its definition has come (docs/install.md says so).
EARLY: Final = "There can be a delay"
# What is below a heading that only concerns a controller in the cluster.
INSIDE: Final = "lws-kueue-system rollout status"


class Shell:
    """A shell in a folder such as a checkout, with the programs that the pages call."""

    def __init__(self, own: sandbox.Sandbox, folder: Path) -> None:
        self.own = own
        self.folder = folder
        for name in ("crds", "deploy", "examples"):
            (folder / name).symlink_to(helm.ROOT / name)
        programs = folder / "bin"
        programs.mkdir()
        self.programs = programs
        (programs / "kubectl").symlink_to(binaries.ensure()["kubectl"])
        command = programs / "lws-kueue"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lws_kueue.cli "$@"\n', "utf-8")
        command.chmod(0o755)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HELM_")},
            **{f"HELM_{kind}_HOME": str(folder / kind) for kind in ("CACHE", "CONFIG", "DATA")},
            "KUBECONFIG": str(own.kubeconfig),
            "KUBECACHEDIR": str(folder / "kubectl"),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(lws_kueue.__file__).parents[1]),
        }

    def run(self, block: commands.Block) -> str:
        """Run what stands in a block; its errors fail the test."""

        def ended() -> subprocess.CompletedProcess[str]:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.text],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert EARLY not in done.stderr, done.stderr
            return done

        done = polling.trying(timeout=60, every=1)(ended)
        assert done.returncode == 0, f"{block.text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def ours(self) -> set[tuple[str, str]]:
        """Return the objects of the cluster that are the project's, by kind and name."""
        label = "--selector=app.kubernetes.io/part-of=lws-kueue"
        answer = kubectl(self.own, "get", ",".join(KINDS), label, "--output=json")
        return {(obj["kind"], obj["metadata"]["name"]) for obj in json.loads(answer)["items"]}


@pytest.fixture
def shell(backend: sandbox.Backend, tmp_path: Path) -> Iterator[Shell]:
    with sandbox.open(backend, options=sandbox.Options(nodes=1, kueue="auto")) as own:
        yield Shell(own, tmp_path)


def blocks(page: str, way: Way) -> list[commands.Block]:
    """Return what of a page is run for a way: what is for all of them, and what is for it."""
    others = {other.heading for other in WAYS} - {way.heading}
    return [
        block
        for block in commands.blocks(helm.ROOT / "docs" / f"{page}.md")
        if block.heading not in others
        and block.why_not is None
        and (way.inside or INSIDE not in block.text)
    ]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.heading)
def test_what_is_documented_installs_upgrades_and_leaves_nothing(shell: Shell, way: Way) -> None:
    if way.helm:
        (shell.programs / "helm").symlink_to(helm.program())
    before = shell.ours()
    for block in blocks("install", way):
        shell.run(block)
    installed = shell.ours()
    assert ("CustomResourceDefinition", DEFINITION) in installed
    assert len(installed) > 20

    for block in blocks("upgrade", way):
        shell.run(block)
    assert shell.ours() == installed

    for block in blocks("uninstall", way):
        shell.run(block)
    assert shell.ours() == before


def test_every_page_has_a_heading_for_every_way() -> None:
    for page in PAGES:
        found = {block.heading for block in commands.blocks(helm.ROOT / "docs" / f"{page}.md")}
        assert found >= {way.heading for way in WAYS}
