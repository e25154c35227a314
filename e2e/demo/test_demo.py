"""`lws-kueue demo` as a person starts it: its output in a log, its end, and what it leaves."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from lws_kueue_lab.sandbox import client

from e2e.demo.conftest import Start, assert_nothing_is_left, table_before
from lws_kueue.api import names

pytestmark = pytest.mark.usefixtures("process_only")


def test_the_demo_tells_its_story_and_ends_by_itself(start: Start) -> None:
    demo = start()
    demo.wait_for("Scaling sample from 2 to 4 groups")
    children = demo.children()
    output = demo.ended_well()

    two = table_before(output, "2 of 2 groups run")
    assert [(row[0], row[2], row[4], row[5]) for row in two] == [
        (str(index), "admitted", "released 3 of 3", "3/3 ready") for index in range(2)
    ]
    assert all("node-" in row[6] and "rack-0-" in row[7] for row in two)

    four = table_before(output, "3 of 4 groups run")
    assert len(four) == 4
    (waiting,) = [row for row in four if row[2] != "admitted"]
    assert waiting[2:] == ["pending", "needs 1 cpu", "held 3 of 3", "0/3 ready", "-", "-"]
    (why,) = [line for line in output.splitlines() if line.strip().startswith("group ")]
    assert f"group {waiting[0]}: ClusterQueue cluster-queue:" in why
    assert "insufficient unused quota for cpu" in why

    assert "Raising the quota of ClusterQueue cluster-queue from 3 cpu to 4 cpu" in output
    last = table_before(output, "4 of 4 groups run")
    assert [row[5] for row in last] == ["3/3 ready"] * 4
    assert re.search(r"Done in \d+ s\..* made \d+ writes .*decided by: .*Kueue", output), output
    assert_nothing_is_left(demo, children)


@pytest.mark.long
def test_a_kept_demo_serves_until_ctrl_c(start: Start) -> None:
    demo = start("--keep")
    demo.wait_for("kubectl edit clusterqueue")
    children = demo.children()
    (kubeconfig,) = re.findall(r"export KUBECONFIG=(\S+)", demo.output)
    (kubectl,) = re.findall(r"alias kubectl=(\S+)", demo.output)
    # The controller still works: what is scaled up is put into the queue, and told.
    command = [kubectl, "scale", "leaderworkerset", "sample", "--replicas=5"]
    environment = os.environ | {"KUBECONFIG": kubeconfig}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    api = client.Client(Path(kubeconfig))
    api.wait_for_all(
        names.KUEUE_API_VERSION,
        "Workload",
        lambda found: len(found) == 5,
        namespace="default",
        what="five Workloads",
    )
    api.close()
    demo.send(signal.SIGINT)
    assert demo.wait() == 0, demo.output
    assert "Traceback" not in demo.output
    assert_nothing_is_left(demo, children)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(start: Start, number: signal.Signals) -> None:
    demo = start()
    demo.wait_for("Started the controller")
    children = demo.children()
    demo.wait_for("Applying examples/leaderworkerset.yaml")
    demo.send(number)
    assert demo.wait() == 128 + number, demo.output
    assert "Interrupted" in demo.output
    assert "Traceback" not in demo.output
    assert_nothing_is_left(demo, children)


@pytest.mark.long
def test_a_controller_that_dies_ends_the_demo_with_its_log(start: Start) -> None:
    demo = start("--keep")
    demo.wait_for("kubectl edit clusterqueue")
    children = demo.children()
    (controller,) = [pid for pid, command in children.items() if "lws_kueue.cli run" in command]
    os.kill(controller, signal.SIGKILL)
    assert demo.wait() == 1, demo.output
    assert "lws-kueue ended with status -9 (SIGKILL); the end of its log:" in demo.output
    assert "INFO lws_kueue.runtime" in demo.output
    assert "Traceback" not in demo.output
    assert_nothing_is_left(demo, children)
