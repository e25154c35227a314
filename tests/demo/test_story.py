"""What a step that does not come to its end leaves to read."""

from lws_kueue_lab.demo import table, telling, watching

from tests.kit.builders import objects


def test_a_failed_step_says_what_was_seen_last_and_what_the_controller_said() -> None:
    seen = objects.one_waiting()
    error = watching.NotSoError("3 of 3 groups run", seconds=90, seen=seen)
    text = telling.report(
        str(error), shown=table.draw(seen), says=seen.why_waiting(), log="one\ntwo"
    )
    assert text.startswith("3 of 3 groups run: not so after 90 s. Seen last:\n")
    assert "sample-2-ab2de   pending" in text
    assert f"The set says: {objects.REASON}\n" in text
    assert text.endswith("The end of the controller's log:\n    one\n    two")


def test_a_controller_that_said_nothing_is_reported_as_silent() -> None:
    shown = table.draw(objects.all_running(1))
    text = telling.report("2 of 2 groups run", shown=shown, says="", log="")
    assert text.endswith("log:\n    (nothing)")
