"""What a plain log gets."""

import io

import pytest
from lws_kueue_lab.demo import screen, table

from tests.kit.builders import objects


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


def test_a_line_carries_the_time_since_the_beginning(clock: Clock, output: io.StringIO) -> None:
    log = screen.Log(output, clock=clock)
    clock.seconds += 7.25
    log.say("Scaling")
    assert output.getvalue() == "[  7.2 s] Scaling\n"


def test_a_table_has_neither_control_characters_nor_cut_names(
    clock: Clock, output: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What rich would look at if it had the choice.
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    screen.Log(output, clock=clock).settle(table.draw(objects.one_waiting()))
    text = output.getvalue()
    assert all(character.isprintable() or character == "\n" for character in text)
    for row in table.rows(objects.one_waiting()):
        line = next(line for line in text.splitlines() if row.workload in line)
        assert all(cell in line for cell in row.cells)
    assert all(line == line.rstrip() for line in text.splitlines())


def test_the_end_of_a_step_shows_a_table_unless_nothing_changed(
    clock: Clock, output: io.StringIO
) -> None:
    log = screen.Log(output, clock=clock)
    log.settle(table.draw(objects.all_running(2)))
    once = output.getvalue()
    log.settle(table.draw(objects.all_running(2)))
    assert output.getvalue() == once
    log.settle(table.draw(objects.all_running(3)))
    assert output.getvalue().count("Workload") == 2


def test_changes_within_a_step_are_shown_only_if_it_takes_long(
    clock: Clock, output: io.StringIO
) -> None:
    log = screen.Log(output, clock=clock)
    log.say("Scaling")
    log.show(table.draw(objects.all_running(2)))
    assert "Workload" not in output.getvalue()
    clock.seconds += 10
    log.show(table.draw(objects.all_running(2)))
    assert output.getvalue().count("Workload") == 1
    log.show(table.draw(objects.all_running(3)))
    assert output.getvalue().count("Workload") == 1


def test_tables_that_follow_each_other_are_set_apart_by_one_line(
    clock: Clock, output: io.StringIO
) -> None:
    log = screen.Log(output, clock=clock)
    log.settle(table.draw(objects.all_running(1)))
    log.settle(table.draw(objects.all_running(2)))
    assert "\n\n\n" not in output.getvalue()
    assert output.getvalue().startswith("\n")
    assert output.getvalue().endswith("\n\n")
