"""The commands as a person runs them, against an API server that refuses this and that."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click import testing

from lws_kueue import cli
from lws_kueue.kubectl import command, completion, look
from lws_kueue.runtime import resources
from tests.kubectl import server as servers
from tests.kubectl.given import Given

# What takes longer to load than an answer may take.
HEAVY = ("kopf", "kubernetes", "aiohttp", "prometheus_client", "cryptography")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Server]:
    """One that serves a set of two groups, of which one is admitted."""
    given = Given(replicas=2, admitted=1)
    given.used("cq", "3")
    with servers.of(given, tmp_path, monkeypatch) as made:
        yield made


def run(*arguments: str) -> testing.Result:
    return testing.CliRunner().invoke(command.main, list(arguments))


def said(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("get",), r"demo +waits +1/2"),
        (("get", "-A"), r"default +demo"),
        (("status", "demo"), r"1 +\w+ +pending"),
        (("explain", "demo"), r"raise nominalQuota of cpu in flavor default of ClusterQueue cq"),
        (("explain", "demo", "--group", "0"), r"1 of 2 groups of demo run"),
        (("where", "demo"), r"group 0 ranks 0, 1, 2"),
        (("usage",), r"cq +1 +1500m"),
        (("rollout", "status", "demo", "--no-watch"), r"2 of 2 groups are at revision"),
    ],
)
def test_each_reading_command_answers(
    server: servers.Server, arguments: tuple[str, ...], text: str
) -> None:
    assert re.search(text, said(*arguments))
    assert not server.patches


@pytest.mark.parametrize("format_", ["json", "yaml"])
@pytest.mark.parametrize("arguments", [("get",), ("status", "demo"), ("where", "demo"), ("usage",)])
def test_each_answer_can_be_read_by_programs(
    server: servers.Server, arguments: tuple[str, ...], format_: str
) -> None:
    import yaml

    assert yaml.safe_load(said(*arguments, "-o", format_))


@pytest.mark.parametrize("name", [*command.COMMANDS])
def test_lws_kueue_has_the_same_commands(name: str) -> None:
    assert cli.main.get_command(None, name) is command.loaded(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("plural", ["clusterqueues", "nodes", "cohorts", "topologies"])
def test_what_may_not_be_read_is_said_in_one_line_and_the_rest_comes(
    server: servers.Server, plural: str
) -> None:
    server.forbidden = {plural}
    result = run("explain", "demo")
    assert result.exit_code == 0
    assert "couldn't assign flavors" in result.stdout
    assert result.stderr == (
        f"Left out, because you may not read it: {plural}. The ClusterRole"
        " lws-kueue-kubectl-viewer allows it\n"
    )


def test_without_rights_beyond_a_namespace_its_own_workloads_are_known(
    server: servers.Server,
) -> None:
    server.clusterwide_forbidden = {"workloads", "localqueues"}
    result = run("explain", "demo")
    assert "couldn't assign flavors" in result.stdout
    assert result.stderr.startswith("Of localqueues, workloads only those of namespace default")


def test_where_pods_may_not_be_read_the_controller_has_the_word(server: servers.Server) -> None:
    server.forbidden = {"pods"}
    result = run("explain", "demo")
    assert "The controller says" in result.stdout
    assert "only what the controller says" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status", "nope"), "LeaderWorkerSet nope is not in namespace default: kubectl lws get"),
        (("get", "nope"), "LeaderWorkerSet nope is not in namespace default"),
        (("explain", "demo", "--group", "9"), "demo has no group 9: it has 2, from 0 to 1"),
        (("stop", "demo", "--group", "9"), "group 9 of demo has no Workload; 0, 1 has one"),
        (("logs", "demo", "--group", "9"), "group 9 of demo has no pods"),
        (("get", "--context", "x"), "give --context, one of c"),
    ],
)
def test_an_error_says_what_to_do(
    server: servers.Server, arguments: tuple[str, ...], says: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"kubectl lws: {says.split(' ')[0]}") or says in result.stderr
    assert says in result.stderr


def test_a_set_that_may_not_be_read_is_an_error_that_names_the_role(
    server: servers.Server,
) -> None:
    server.forbidden = {"leaderworkersets"}
    result = run("status", "demo")
    assert result.exit_code == 1
    assert "lws-kueue-kubectl-viewer" in result.stderr


@pytest.mark.parametrize(("word", "active"), [("stop", False), ("start", True)])
def test_stop_and_start_write_the_workloads_active_and_nothing_else(
    server: servers.Server, word: str, active: bool
) -> None:
    own = server.objects[resources.WORKLOADS][0]
    own["spec"]["active"] = not active
    index = own["metadata"]["annotations"]["kueue.x-k8s.io/component-workload-index"]
    said(word, "demo", "--group", index)
    ((path, body),) = server.patches
    assert path.endswith(f"/workloads/{own['metadata']['name']}")
    assert body["spec"] == {"active": active}
    assert body["metadata"]["resourceVersion"] == own["metadata"]["resourceVersion"]


def test_a_group_that_is_stopped_already_is_not_written(server: servers.Server) -> None:
    assert "is started already" in said("start", "demo", "--group", "0")
    assert not server.patches


@pytest.mark.parametrize("follow", [(), ("-f",)])
def test_each_line_of_a_log_has_the_rank_of_its_pod(
    server: servers.Server, follow: tuple[str, ...]
) -> None:
    server.logs = {"demo-0": "a\nb\n", "demo-0-2": "c"}
    found = said("logs", "demo", "--group", "0", *follow).splitlines()
    assert sorted(found) == [
        "[0] a",
        "[0] b",
        "[1] (no log of pod demo-0-1: no log of demo-0-1)",
        "[2] c",
    ]
    assert found.index("[0] a") < found.index("[0] b")


def test_the_log_of_the_leader_alone_and_of_pods_that_wait(server: servers.Server) -> None:
    server.logs = {"demo-0": "a"}
    assert said("logs", "demo", "--group", "0", "--leader") == "[0] a\n"
    waits = said("logs", "demo", "--group", "1", "--leader")
    assert waits == "[0] (pod demo-1 waits for admission and has not started)\n"


def test_names_are_completed_as_kubectl_asks_for_it(
    server: servers.Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completion.choices(["status", "d"]) == ["demo"]
    assert completion.choices(["status", "--context", ""]) == ["c"]
    assert "explain" in "\n".join(completion.choices(["ex"]))
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-lws", "status", "x"])
    completion.main()
    assert capsys.readouterr().out == ":4\n"


def test_positions_come_from_kueues_visibility_api_where_it_is_served(
    server: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = server.answer

    def told(method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if "visibility" not in path:
            return answer(method, path, query, body)
        own = next(w for w in server.objects[resources.WORKLOADS] if "admission" not in w["status"])
        mine = {"name": own["metadata"]["name"], "namespace": "default"}
        first = {"name": "first", "namespace": "default"}
        items = [{"metadata": one, "localQueueName": "queue"} for one in (first, mine)]
        return 200, {"items": items}

    monkeypatch.setattr(server, "answer", told)
    assert "2nd of 2 in the ClusterQueue" in (shown := said("explain", "demo"))
    assert "Kueue's visibility API" in shown


def test_no_command_loads_what_takes_long(server: servers.Server) -> None:
    program = (
        "import sys, json; from lws_kueue.kubectl import command\n"
        "try: command.main(['explain', 'demo'])\n"
        "except SystemExit: pass\n"
        f"print(json.dumps([one for one in {HEAVY} if one in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Group 1" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []


# What few ask for; whatever else somebody asks does not wait for it. The arithmetic of quota is
# that of the simulation, whose other modules `whatif` alone needs.
RARE = (
    "lws_kueue.kubectl.whatif",
    "lws_kueue.kubectl.dashboard",
    "lws_kueue.simulator.scheduler",
    "http.server",
)


def test_no_other_command_loads_the_simulation_or_the_page() -> None:
    others = [one for one in command.COMMANDS if one not in ("whatif", "dashboard")]
    program = (
        "import sys; from lws_kueue.kubectl import command\n"
        f"for name in {others}:\n"
        "    command.loaded(name)\n"
        f"    found = [one for one in {RARE} if one in sys.modules]\n"
        "    assert not found, (name, found)\n"
        "    simulated = any(one.startswith('lws_kueue.simulator') for one in sys.modules)\n"
        "    assert not simulated or name not in ('get', 'status'), name\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("collects", [True, False])
def test_a_command_that_is_loaded_leaves_the_collection_of_garbage_as_it_was(
    collects: bool,
) -> None:
    program = (
        "import gc; from lws_kueue.kubectl import command\n"
        f"gc.enable() if {collects} else gc.disable()\n"
        "command.loaded('get')\n"
        f"assert gc.isenabled() is {collects}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_loads_no_command() -> None:
    program = (
        "import sys; from lws_kueue.kubectl import command\n"
        "try: command.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'lws_kueue.kubectl.look' not in sys.modules\n"
        "assert 'pydantic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_all_that_is_read_is_asked_for_at_once_and_only_once(server: servers.Server) -> None:
    said("explain", "demo")
    assert len(server.asked) == len({*server.asked})
    assert look.COHORTS.path() in [one.split(" ")[1] for one in server.asked]
