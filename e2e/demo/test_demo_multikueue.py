"""`lws-kueue demo --multikueue` as a person starts it: four clusters, their groups, and the end."""

import collections
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from lws_kueue_lab.sandbox import client

from e2e.demo.conftest import Start, assert_nothing_is_left, table_before
from lws_kueue.api import names

pytestmark = [pytest.mark.usefixtures("process_only"), pytest.mark.long]

WORKERS = ("worker-1", "worker-2", "worker-3")
# Four control planes start.
PATIENCE = 300.0


def test_the_demo_runs_four_groups_on_three_clusters_and_ends_by_itself(start: Start) -> None:
    demo = start("--multikueue", patience=PATIENCE)
    demo.wait_for("Scaling sample from 4 to 5 groups")
    children = demo.children()
    output = demo.ended_well()

    assert "4 of 4 groups run: 2 in worker-1, 1 in worker-2, 1 in worker-3." in output
    four = table_before(output, "4 of 4 groups run")
    assert collections.Counter(row[4] for row in four) == {
        "worker-1": 2,
        "worker-2": 1,
        "worker-3": 1,
    }
    for row in four:
        assert (row[2], row[3], row[5]) == ("has 1 cpu", "-", "3/3 ready")
        assert "node-" in row[6]
        assert row[7] == "gated, ready"

    five = table_before(output, "4 of 5 groups run")
    (waiting,) = [row for row in five if row[4] == "-"]
    assert waiting[2:] == ["has 1 cpu", ", ".join(WORKERS), "-", "-", "-", "gated"]
    why = output.partition("Why one waits, as the set says:\n")[2].splitlines()
    assert why[0].strip() == f"group {waiting[0]}:"
    for line, worker in zip(why[1:], WORKERS, strict=False):
        assert line.strip().startswith(f"{worker}: couldn't assign flavors")
        assert "insufficient unused quota for cpu" in line

    assert "Raising the quota in worker-3 from 1 cpu to 2 cpu" in output
    assert "5 of 5 groups run: 2 in worker-1, 1 in worker-2, 2 in worker-3." in output
    assert "The pods of the first 4 groups are still the same." in output
    assert re.search(r"Done in \d+ s\..* made \d+ writes there, .* decided by: .*Kueue", output)
    assert_nothing_is_left(demo, children)


def test_a_kept_demo_of_several_clusters_dispatches_until_ctrl_c(start: Start) -> None:
    demo = start("--multikueue", "--keep", patience=PATIENCE)
    demo.wait_for("worker-1 edit clusterqueue")
    children = demo.children()
    aliases = dict(re.findall(r"alias (\S+)='(\S+ --kubeconfig=\S+)'", demo.output))
    assert set(aliases) == {"manager", *WORKERS}
    # What is scaled down goes where it runs.
    manager = aliases["manager"].split()
    subprocess.run([*manager, "scale", "lws", "sample", "--replicas=0"], check=True)
    for worker in WORKERS:
        api = client.Client(Path(aliases[worker].partition("--kubeconfig=")[2]))
        for kind in ((names.LWS_API_VERSION, names.LWS_KIND), ("v1", "Pod")):
            api.wait_for_all(
                *kind, lambda seen: not seen, namespace="default", what=f"no {kind[1]} in {worker}"
            )
        api.close()
    demo.send(signal.SIGINT)
    assert demo.wait() == 0, demo.output
    assert "Traceback" not in demo.output
    assert_nothing_is_left(demo, children)


@pytest.mark.parametrize(
    "moment", ["Starting 4 Kubernetes", "Started a controller in each cluster"]
)
def test_a_demo_of_several_clusters_that_is_interrupted_leaves_nothing(
    start: Start, moment: str
) -> None:
    demo = start("--multikueue", patience=PATIENCE)
    demo.wait_for(moment)
    demo.wait_until_it_has_children()
    children = demo.children()
    demo.send(signal.SIGINT)
    assert demo.wait() == 128 + signal.SIGINT, demo.output
    assert "Interrupted" in demo.output
    assert "Traceback" not in demo.output
    assert_nothing_is_left(demo, children)


def test_a_controller_of_a_worker_that_dies_ends_the_demo_with_its_log(start: Start) -> None:
    demo = start("--multikueue", "--keep", patience=PATIENCE)
    demo.wait_for("worker-1 edit clusterqueue")
    children = demo.children()
    controllers = [pid for pid, command in children.items() if "lws_kueue.cli run" in command]
    assert len(controllers) == 1 + len(WORKERS)
    os.kill(controllers[-1], signal.SIGKILL)
    assert demo.wait() == 1, demo.output
    assert "lws-kueue ended with status -9 (SIGKILL); the end of its log:" in demo.output
    assert "Traceback" not in demo.output
    assert_nothing_is_left(demo, children)
