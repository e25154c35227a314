"""How long an event loop looked at nothing."""

import subprocess
import sys
from pathlib import Path

from lws_kueue_lab import python_path
from lws_kueue_lab.bench import loop_blocks

Block = loop_blocks.Block


def test_a_line_that_is_half_written_is_left_out() -> None:
    assert loop_blocks.read(["1.0 0.5 0.25\n", "2.0 0.7 0."]) == [Block(1.0, 0.5, 0.25)]


def test_the_longest_one_counts_since_a_moment() -> None:
    blocks = [Block(1.0, 9.0, 9.0), Block(3.0, 0.5, 0.125), Block(4.0, 0.25, 0.25)]
    assert loop_blocks.longest(blocks, since=2.0) == {"block.wall": 0.5, "block.cpu": 0.25}
    assert loop_blocks.longest(blocks, since=5.0) == {"block.wall": 0.0, "block.cpu": 0.0}


LOOP = """
import asyncio, sys, time
from lws_kueue import cli
from lws_kueue_lab.bench import loop_blocks

async def work():
    await asyncio.sleep(0)
    time.sleep(0.05)
    await asyncio.sleep(0)

cli.main = lambda **_: asyncio.run(work())
sys.argv = ["loop_blocks", sys.argv[1], "run"]
loop_blocks.main()
"""


def test_a_loop_that_does_something_else_is_written_down(tmp_path: Path) -> None:
    """In a process of its own: it is the one in which all event loops are watched."""
    file = tmp_path / "blocks"
    subprocess.run(
        [sys.executable, "-c", LOOP, str(file)], env={"PYTHONPATH": python_path()}, check=True
    )
    found = loop_blocks.read(file.read_text().splitlines(keepends=True))
    assert max(block.seconds for block in found) >= 0.05
