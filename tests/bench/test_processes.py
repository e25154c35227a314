"""What is read from /proc."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lws_kueue_lab.bench import processes

Usage = processes.Usage


def test_what_was_spent_is_the_difference_and_the_peak_is_the_latest() -> None:
    before = {("a", 1): Usage(1.0, 10), ("gone", 2): Usage(5.0, 50)}
    after = {("a", 1): Usage(1.5, 20), ("new", 3): Usage(0.25, 30)}
    assert processes.spent(before, after) == {
        "cpu.a": 0.5,
        "peak.a": 20.0,
        "cpu.new": 0.25,
        "peak.new": 30.0,
    }


def test_one_that_was_started_again_is_measured_from_its_start() -> None:
    assert processes.spent({("a", 1): Usage(9.0, 10)}, {("a", 2): Usage(2.0, 5)}) == {
        "cpu.a": 2.0,
        "peak.a": 5.0,
    }


def test_a_child_is_named_by_the_log_that_it_writes(tmp_path: Path) -> None:
    with (tmp_path / "component.log").open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stderr=log,
        )
    try:
        found = processes.usage()
    finally:
        child.communicate()
    assert found["component", child.pid].peak_bytes > 0
    own = found["bench", os.getpid()]
    assert own.cpu_seconds > 0
    assert own.peak_bytes > 2**20


@pytest.mark.parametrize(
    "name", ["python", "a (strange) name", ") 1 2 3"], ids=["plain", "brackets", "numbers"]
)
def test_the_name_of_a_program_does_not_move_its_ticks(name: str) -> None:
    fields = ["S", *("0" for _ in range(10)), "12", "30", "0"]
    assert processes._cpu_ticks(f"7 ({name}) {' '.join(fields)}") == 42


def test_a_process_that_is_about_to_end_has_no_memory() -> None:
    assert processes._peak("Name:\tx\nVmHWM:\t    2048 kB\n") == 2 * 2**20
    assert processes._peak("Name:\tx\n") == 0
