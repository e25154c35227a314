"""Medians, ratios, the table and the JSON of what was measured."""

import json
from typing import Any

import pytest
from lws_kueue_lab.bench import cases, measure, report

SHAPE = cases.Shape(2, 2)


def result(
    case: cases.Case,
    contender: Any,
    figures: dict[str, float],
    *,
    run: int = 1,
    finished: bool = True,
) -> measure.Result:
    return measure.Result(
        case=case,
        contender=contender,
        shape=SHAPE,
        phase="create",
        run=run,
        kueue="no Kueue",
        finished=finished,
        figures={"groups": 2.0, "pods": 4.0, **figures},
    )


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], {}),
        ([{"seconds": 3.0}, {"seconds": 1.0}, {"seconds": 2.0}], {"seconds": 2.0}),
        # Somebody who wrote in one run of three did not write in most.
        ([{"writes.x.patch": 1.0}, {}, {}], {"writes.x.patch": 0.0}),
        # What a run could not tell is no zero.
        ([{"release.p99": 1.0}, {}, {}], {"release.p99": 1.0}),
    ],
)
def test_medians(runs: list[dict[str, float]], expected: dict[str, float]) -> None:
    assert report.medians(runs) == expected


def test_ratios_are_of_what_both_have() -> None:
    assert report.ratios({"a": 3.0, "b": 1.0, "c": 1.0}, {"a": 2.0, "b": 0.0}) == {"a": 1.5}


def test_our_rows_are_compared_with_the_floor_and_with_the_peer_of_the_same_case() -> None:
    rows = report.rows(
        [
            result("floor", "nobody", {"seconds": 2.0}),
            result("plain", "ours", {"seconds": 3.0}),
            result("plain", "LWS", {"seconds": 4.0}),
            result("queue-managed", "ours", {"seconds": 5.0}),
            result("queue-managed", "LWS + Kueue", {"seconds": 10.0}),
        ]
    )
    assert [row.of_floor.get("seconds") for row in rows] == [None, 1.5, 2.0, 2.5, 5.0]
    assert [row.of_peer.get("seconds") for row in rows] == [None, 0.75, None, 0.5, None]


def test_managers_are_added_up_and_divided_by_groups_and_pods() -> None:
    (row,) = report.rows(
        [
            result(
                "queue-managed",
                "ours",
                {
                    "cpu.lws-kueue": 1.0,
                    "cpu.kueue": 3.0,
                    "cpu.etcd": 9.0,
                    "writes.lws-kueue.patch": 6.0,
                    "writes.kueue.update": 2.0,
                    "writes.kwok.patch": 50.0,
                },
            )
        ]
    )
    assert row.figures["managers.cpu"] == 4.0
    assert row.figures["managers.cpu_per_pod"] == 1.0
    assert row.figures["own.cpu_per_pod"] == 0.25
    assert row.figures["managers.writes_per_group"] == 4.0


def test_runs_that_did_not_end_in_time_are_counted_and_not_averaged() -> None:
    (row,) = report.rows(
        [
            result("plain", "ours", {"seconds": 3.0}),
            result("plain", "ours", {"seconds": 900.0}, run=2, finished=False),
        ]
    )
    assert (row.runs, row.unfinished, row.figures["seconds"]) == (2, 1, 3.0)
    (lost,) = report.rows([result("plain", "ours", {"seconds": 900.0}, finished=False)])
    assert "not in time (1)" in report.cells(lost)


def test_the_table_has_a_cell_for_each_column() -> None:
    rows = report.rows(
        [result("floor", "nobody", {"seconds": 2.0}), result("plain", "ours", {"seconds": 3.0})]
    )
    table = report.table(rows)
    for row in rows:
        assert len(report.cells(row)) == len(table.columns)
    assert report.cells(rows[1])[:7] == ["plain", "ours", "2 x 2", "create", "-", "3.0", "1.50"]


def test_the_json_has_every_run_and_every_median() -> None:
    results = [
        result("plain", "ours", {"seconds": 3.0}),
        result("plain", "ours", {"seconds": 5.0}, run=2),
    ]
    content = json.loads(json.dumps(report.as_json({"cores": 2}, results, report.rows(results))))
    assert content["machine"] == {"cores": 2}
    assert [run["figures"]["seconds"] for run in content["runs"]] == [3.0, 5.0]
    (median,) = content["medians"]
    assert (median["case"], median["shape"], median["figures"]["seconds"]) == (
        "plain",
        {"groups": 2, "size": 2},
        4.0,
    )


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([5.0], 0.99, 5.0),
        ([1.0, 2.0], 0.5, 1.0),
        (list(range(1, 101)), 0.99, 99),
        ([3, 1, 2], 1, 3),
    ],
)
def test_a_percentile_is_one_of_the_values(
    values: list[float], share: float, expected: float
) -> None:
    assert measure.percentile(values, share) == expected
