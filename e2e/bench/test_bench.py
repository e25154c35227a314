"""`lws-kueue bench` on the smallest set: counts are looked at, seconds are nobody's promise."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lws_kueue_lab.sandbox import binaries, kueue_manager, lws_manager

pytestmark = pytest.mark.usefixtures("process_only")

ROOT = Path(__file__).parents[2]
GROUPS, SIZE = 3, 2
PEERS = (
    *(kueue_manager.BINARY_VARIABLE, kueue_manager.MANIFESTS_VARIABLE),
    *(lws_manager.BINARY_VARIABLE, lws_manager.MANIFESTS_VARIABLE),
)
LIFE = ("create", "rest", "restart", "scale up", "scale down", "roll", "delete")


def measured(file: Path, *arguments: str) -> dict[str, Any]:
    """Run it on the stand-in and return what it wrote."""
    binaries.ensure()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lws_kueue.cli", "bench", "--nodes=8", *arguments),
            *(f"--groups={GROUPS}", f"--size={SIZE}", "--json", str(file)),
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in PEERS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def figures(content: dict[str, Any], case: str, phase: str) -> dict[str, float]:
    (found,) = [one for one in content["runs"] if (one["case"], one["phase"]) == (case, phase)]
    assert found["finished"]
    return dict(found["figures"])


def test_the_writes_of_everybody_are_counted_and_every_process_is_measured(tmp_path: Path) -> None:
    content = measured(tmp_path / "figures.json", "--case=floor", "--case=queue-managed")
    floor, ours = (figures(content, case, "create") for case in ("floor", "queue-managed"))
    pods = GROUPS * SIZE
    for found in (floor, ours):
        # Every pod is made, given a node, and says that it runs.
        assert found["writes.statefulset-controller.create"] >= pods
        assert found["writes.kube-scheduler.create"] == pods
        assert found["writes.kwok.patch"] >= pods
    # One release a pod; a Workload and a StatefulSet a group.
    assert ours["writes.lws-kueue.patch"] >= pods
    assert ours["writes.lws-kueue.create"] >= GROUPS
    assert ours["writes.kueue-stand-in.patch"] >= GROUPS
    assert not [name for name in floor if "lws-kueue" in name or "stand-in" in name]
    assert {name.removeprefix("peak.") for name in ours if name.startswith("peak.")} == {
        *("bench", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"),
        *("kueue-stand-in", "lws-kueue"),
    }
    assert {"block.wall", "release.p50", "release.p99", "seconds.first"} <= ours.keys()
    assert {run["kueue"] for run in content["runs"]} == {"no Kueue", "stand-in for Kueue"}
    of_floor, of_nobody = content["medians"]
    assert (of_floor["of_floor"], of_floor["of_peer"], of_nobody["of_peer"]) == ({}, {}, {})
    assert "seconds" in of_nobody["of_floor"]


@pytest.mark.long
def test_every_phase_of_a_life_comes_to_its_end(tmp_path: Path) -> None:
    content = measured(
        tmp_path / "figures.json", "--case=queue-managed", "--life", "--rest=1", "--runs=1"
    )
    assert [run["phase"] for run in content["runs"]] == list(LIFE)
    assert all(run["finished"] for run in content["runs"])
    rest = figures(content, "queue-managed", "rest")
    assert not [name for name in rest if name.startswith("writes.lws-kueue")]
    groups = [run["figures"]["groups"] for run in content["runs"]]
    assert groups == [GROUPS, GROUPS, GROUPS + 1, GROUPS + 2, *3 * [GROUPS + 1]]
