"""A program that was damaged says so when it does not start, or ends by itself."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import intact, supervision
from lws_kueue_lab.sandbox.releases.errors import IntegrityError

SCRIPT = "#!/bin/sh\necho said; kill -SEGV $$\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program of a cache, with what says which digest it had."""
    path = tmp_path / "programs" / "tool"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    path.chmod(0o755)
    intact.keep(path.parent, ["tool"])
    return path


@pytest.fixture
def owned() -> Iterator[supervision.Supervision]:
    with contextlib.closing(supervision.Supervision()) as owned:
        yield owned


def died(owned: supervision.Supervision) -> sandbox.ComponentDiedError:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            owned.check()
        except sandbox.ComponentDiedError as error:
            return error
    raise AssertionError("it has not ended")


def test_a_program_that_cannot_be_started_because_it_is_damaged_is_named(
    owned: supervision.Supervision, program: Path
) -> None:
    program.write_bytes(b"\x7fELF")
    with pytest.raises(IntegrityError, match=f"{program} is damaged.*Remove {program.parent}"):
        owned.start("tool", [str(program)])


def test_a_program_that_ends_by_itself_is_compared_with_what_it_was(
    owned: supervision.Supervision, program: Path
) -> None:
    written = program.stat().st_mtime_ns
    program.write_text(SCRIPT.replace("said", "else"))
    # As if nobody had written: the disk has lost something.
    os.utime(program, ns=(written, written))
    intact.check(program.parent)
    owned.start("tool", [str(program)])
    told = str(died(owned))
    assert told.startswith(f"tool ended with status -11 (SIGSEGV). {program} is damaged: ")
    assert "sandbox verify" in told
    assert told.endswith("; the end of its log:\n    else")


def test_a_program_that_is_what_it_was_is_not_blamed(
    owned: supervision.Supervision, program: Path
) -> None:
    owned.start("tool", [str(program)])
    assert str(died(owned)) == (
        "tool ended with status -11 (SIGSEGV); the end of its log:\n    said"
    )
    with pytest.raises(sandbox.SandboxError, match="No such file"):
        owned.start("other", [str(program.with_name("other"))])


def test_what_says_the_digests_may_itself_be_damaged(program: Path) -> None:
    record = program.parent / intact.BUILT
    for content in ("", "[]", "{"):
        record.write_text(content)
        with pytest.raises(IntegrityError, match=rf"{record} is damaged.*Remove {program.parent}"):
            intact.check(program.parent)
