"""What `lws-kueue bench` runs, and how it ends."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lws_kueue_lab import sandbox
from lws_kueue_lab.bench import cases, command, contenders, measure
from lws_kueue_lab.sandbox import binaries, kueue_manager, lws_manager

Asked = list[tuple[str, str, str, int]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Every run that was asked for; each takes a second."""
    found: Asked = []

    def run(
        case: cases.Case, contender: Any, shape: cases.Shape, plan: measure.Plan, *, number: int
    ) -> Iterator[measure.Result]:
        found.append((case, contender, str(shape), number))
        known = ("seconds", "groups", "pods", "load.before", "load.after")
        yield measure.Result(
            case=case,
            contender=contender,
            shape=shape,
            phase="create",
            run=number,
            kueue="no Kueue",
            finished=True,
            figures=dict.fromkeys(known, 1.0),
        )
        if case == "topology":
            raise sandbox.SandboxError("etcd has ended")

    monkeypatch.setattr(measure, "run", run)
    monkeypatch.setattr(binaries, "ensure", dict)
    for variable in (
        *(lws_manager.BINARY_VARIABLE, lws_manager.MANIFESTS_VARIABLE),
        *(kueue_manager.BINARY_VARIABLE, kueue_manager.MANIFESTS_VARIABLE),
    ):
        monkeypatch.delenv(variable, raising=False)
    return found


def test_by_default_a_small_set_is_measured_once(asked: Asked) -> None:
    outcome = CliRunner().invoke(command.bench_command)
    assert outcome.exit_code == 0, outcome.output
    assert asked == [
        ("floor", "nobody", "50 x 4", 1),
        ("plain", "ours", "50 x 4", 1),
        ("queue-managed", "ours", "50 x 4", 1),
    ]


def test_every_run_has_everything_before_the_next_one_begins(asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--case=floor", "--case=plain", "--groups=2", "--groups=3", "--size=1", "--runs=2"]
    outcome = CliRunner().invoke(command.bench_command, [*arguments, "--json", str(file)])
    assert outcome.exit_code == 0, outcome.output
    once = [
        (case, who, shape)
        for shape in ("2 x 1", "3 x 1")
        for case, who in (("floor", "nobody"), ("plain", "ours"))
    ]
    assert asked == [(*one, number) for number in (1, 2) for one in once]
    content = json.loads(file.read_text())
    assert len(content["runs"]) == 8
    assert [median["runs"] for median in content["medians"]] == [2, 2, 2, 2]


def test_what_was_measured_before_something_ended_is_told(asked: Asked) -> None:
    outcome = CliRunner().invoke(command.bench_command, ["--case=plain", "--case=topology"])
    assert outcome.exit_code == 1
    assert "lws-kueue bench: etcd has ended" in outcome.output
    assert re.search(r"^ *plain +ours +50 x 4", outcome.output, re.MULTILINE)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("case", "lws", "kueue", "peers", "expected"),
    [
        ("floor", True, True, True, ("nobody",)),
        ("plain", False, False, True, ("ours",)),
        ("plain", True, False, True, ("ours", "LWS")),
        ("plain", True, True, False, ("ours",)),
        ("queue-managed", True, True, True, ("ours", "LWS + Kueue")),
        ("topology", True, False, True, ("ours",)),
        ("topology", False, True, True, ("ours",)),
    ],
)
def test_peers_take_part_where_the_environment_names_their_programs(
    monkeypatch: pytest.MonkeyPatch,
    case: cases.Case,
    lws: bool,
    kueue: bool,
    peers: bool,
    expected: tuple[str, ...],
) -> None:
    monkeypatch.setattr(lws_manager, "from_environment", lambda: "LWS" if lws else None)
    monkeypatch.setattr(kueue_manager, "from_environment", lambda: "Kueue" if kueue else None)
    assert contenders.of(case, peers=peers) == expected
