"""Records of running sandboxes, by name."""

import subprocess
import sys
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import records

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_record_is_found_as_long_as_its_owner_holds_it() -> None:
    assert records.find("mine") is None
    with records.claim("mine") as publish:
        begun = records.find("mine")
        assert begun is not None
        assert begun.kubeconfig == ""
        publish(records.Record(name="mine", pid=7, kubeconfig="/k", server="https://s"))
        assert records.find("mine") == records.Record(
            name="mine", pid=7, kubeconfig="/k", server="https://s"
        )
        assert records.find("other") is None
    assert records.find("mine") is None


def test_a_name_has_one_owner() -> None:
    with (
        records.claim("mine"),
        pytest.raises(sandbox.SandboxError, match="runs already"),
        records.claim("mine"),
    ):
        pass


def test_the_record_of_a_dead_owner_counts_for_nothing() -> None:
    code = """
import os
from lws_kueue_lab.sandbox import records
with records.claim("mine"):
    os._exit(1)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert (records.directory() / "mine.json").exists()
    assert records.find("mine") is None
    with records.claim("mine"):
        assert records.find("mine") is not None


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "x" * 60])
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(sandbox.SandboxError, match="no name"):
        records.find(name)
