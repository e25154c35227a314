"""The page's data is what the commands tell, and only the page that has the token gets it."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import resources as files
from pathlib import Path
from typing import Any

import pytest
from click import testing

from lws_kueue.kubectl import command as commands
from lws_kueue.kubectl.dashboard import command, picture, serving
from lws_kueue.kubectl.options import Where
from lws_kueue.runtime import resources
from tests.kit.builders import cluster as build
from tests.kubectl import server as servers
from tests.kubectl import test_screens as screens

Object = dict[str, Any]
PAGES = ("page.html", "page.js", "page.css")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Server]:
    """One that serves a set of three groups, of which two are admitted."""
    with servers.of(screens.half_admitted(), tmp_path, monkeypatch) as made:
        yield made


def answer(chosen: str = "default/demo", **asked: str) -> Object:
    """What the page is told of a set."""
    connected, namespace = Where(None, None).connect()
    told = command.answering(connected, namespace=namespace)({"set": chosen, **asked})
    return dict(json.loads(told))


def test_the_picture_has_the_sets_the_chosen_one_and_the_queues(server: servers.Server) -> None:
    told = answer()
    (row,) = told["sets"]
    assert (row["namespace"], row["name"], row["ready"], row["replicas"]) == (
        "default",
        "demo",
        2,
        3,
    )
    chosen = told["chosen"]
    assert [one["admission"] for one in chosen["status"]["groups"]] == ["admitted"] * 2 + [
        "pending"
    ]
    (why,) = chosen["why"]["explanations"]
    assert "raise nominalQuota of cpu in flavor default of ClusterQueue cq" in why["change"]
    assert {one["value"] for one in chosen["where"]["domains"]} == {"rack-0", "(no node)"}
    (queue,) = told["queues"]
    (bar,) = queue["bars"]
    assert (queue["name"], bar["used"], bar["nominal"], bar["usedOfNominal"]) == ("cq", "3", "3", 1)
    assert not server.patches


def test_without_a_chosen_set_there_are_the_sets_alone(server: servers.Server) -> None:
    told = answer("")
    assert (len(told["sets"]), "chosen" in told, "notes" in told) == (1, False, False)


def test_a_set_that_is_gone_and_what_may_not_be_read_are_told(server: servers.Server) -> None:
    server.forbidden = {"clusterqueues"}
    told = answer("default/gone")
    assert "chosen" not in told
    assert "queues" not in told
    gone, lacking = told["notes"]
    assert "LeaderWorkerSet gone is not in namespace default" in gone
    assert "you may not read it: clusterqueues" in lacking


def test_what_keeps_the_sets_from_being_read_is_told_with_what_to_do(
    server: servers.Server,
) -> None:
    server.forbidden = {"leaderworkersets"}
    assert "lws-kueue-kubectl-viewer" in answer()["error"]


def test_what_if_there_were_fewer_groups_is_what_the_command_tells(
    server: servers.Server,
) -> None:
    told = answer(replicas="1")["chosen"]["whatIf"]
    done = testing.CliRunner().invoke(
        commands.main, ["whatif", "demo", "--replicas", "1", "-o", "wide"]
    )
    assert f"Then   {told['running']} of 1 groups have quota" in done.stdout
    assert told["head"][:3] == ["GROUP", "NOW", "THEN"]
    shown = [tuple(row[:3]) for row in told["rows"]]
    assert shown == [("0", "runs", "runs"), ("1", "runs", "gone"), ("2", "waits", "gone")]
    assert all(one in done.stdout for one in told["notModelled"])
    assert not server.patches


def test_ten_thousand_groups_are_told_as_runs_of_those_alike(server: servers.Server) -> None:
    told = answer(replicas="10000")["chosen"]["whatIf"]
    assert (told["running"], told["replicas"]) == (2, 10_000)
    assert [row[0] for row in told["rows"]] == ["0-1", "2", "3-9999"]
    (why,) = told["waits"]
    assert "1500m more needed" in why


def test_what_if_is_answered_only_when_somebody_asks(server: servers.Server) -> None:
    assert "whatIf" not in answer()["chosen"]


@pytest.mark.parametrize("replicas", ["", "-1", "1e3", "many", "1000001"])
def test_what_is_no_number_of_groups_is_not_asked_for(
    server: servers.Server, replicas: str
) -> None:
    assert "whatIf" not in answer(replicas=replicas)["chosen"]


def test_what_if_says_what_to_do_where_it_cannot_be_answered(server: servers.Server) -> None:
    server.forbidden = {"resourceflavors"}
    told = answer(replicas="4")
    assert "you may not read resourceflavors" in told["chosen"]["whatIf"]["problem"]
    assert told["chosen"]["status"]["name"] == "demo"


@pytest.mark.parametrize(
    ("nominal", "used", "share", "borrowed"),
    [("4", "1", 0.25, ""), ("2", "3", 1.5, "1"), ("0", "0", 0.0, ""), ("0", "1", 1.0, "1")],
)
def test_a_bar_is_the_share_of_the_nominal_quota(
    nominal: str, used: str, share: float, borrowed: str
) -> None:
    queue = build.cluster_queue("q", {"f": {"cpu": nominal}}, cohortName="c")
    usage = [{"name": "f", "resources": [{"name": "cpu", "total": used}]}]
    queue["status"] = {"flavorsReservation": usage, "pendingWorkloads": 7, "admittedWorkloads": 2}
    (found,) = picture.queues([queue], [])
    (bar,) = found.bars
    assert (found.cohort, found.pending, found.admitted) == ("c", 7, 2)
    assert (bar.used_of_nominal, bar.borrowed) == (share, borrowed)


# Who is answered ----------------------------------------------------------------------------------


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a page that is served, with its token."""
    pages = serving.Pages(lambda asked: json.dumps(dict(asked)), token="secret")
    with serving.serving(pages) as found:
        yield found


def ask(url: str, path: str, *, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
    """Ask for a path; headers are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(
        f"{url.partition('/#')[0]}{path}", headers=named, method=method
    )
    try:
        with urllib.request.urlopen(request) as got:
            return got.status, got.read().decode(), got.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


OWN = "Bearer secret"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/data?set=a/b", {"Authorization": OWN}, 200),
        ("/data", {"Authorization": OWN, "Sec_Fetch_Site": "same-origin"}, 200),
        ("/", {}, 200),
        ("/", {"Sec_Fetch_Site": "none"}, 200),
        # Whoever does not know the token, such as another user of the machine.
        ("/data", {}, 401),
        ("/data", {"Authorization": "Bearer other"}, 401),
        ("/data", {"Authorization": "Bearer s\u00e9cret"}, 401),
        ("/data?token=secret", {}, 401),
        # Another page of the browser, which may have learnt it.
        ("/data", {"Authorization": OWN, "Sec_Fetch_Site": "cross-site"}, 403),
        ("/data", {"Authorization": OWN, "Sec_Fetch_Site": "same-site"}, 403),
        ("/", {"Sec_Fetch_Site": "cross-site"}, 403),
        # A name that was bound to 127.0.0.1 meanwhile.
        ("/data", {"Authorization": OWN, "Host": "evil.example:80"}, 421),
        ("/", {"Host": "evil.example"}, 421),
        ("/../serving.py", {}, 404),
        ("/serving.py", {}, 404),
        ("/%2e%2e/serving.py", {}, 404),
    ],
)
def test_only_the_page_that_has_the_token_is_given_data(
    url: str, path: str, headers: dict[str, str], status: int
) -> None:
    found, text, _ = ask(url, path, **headers)
    assert found == status, text
    if status >= 400:
        assert "a/b" not in text
        assert "secret" not in text


def test_what_the_page_asks_for_reaches_whoever_answers(url: str) -> None:
    assert json.loads(ask(url, "/data?set=a/b", Authorization=OWN)[1]) == {"set": "a/b"}


def test_the_command_prints_the_url_serves_there_and_ends_with_ctrl_c(
    server: servers.Server,
) -> None:
    program = [sys.executable, "-m", "lws_kueue.kubectl.command", "dashboard"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = process.stdout.readline().strip()
        token = found.partition("#token=")[2]
        status, text, _ = ask(found, "/data?set=default/demo", Authorization=f"Bearer {token}")
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert status == 200
    assert json.loads(text)["chosen"]["status"]["name"] == "demo"


def test_a_port_that_is_taken_is_told(server: servers.Server, url: str) -> None:
    port = url.partition("/#")[0].rpartition(":")[2]
    done = testing.CliRunner().invoke(commands.main, ["dashboard", "--port", port])
    assert done.exit_code == 1
    assert f"port {port}" in done.stderr
    assert "give another --port" in done.stderr


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(url: str, method: str) -> None:
    assert ask(url, "/data", method=method, Authorization=OWN)[0] == 501


def raw(url: str, sent: bytes) -> bytes:
    """Send bytes, and return all that comes back until the server hangs up."""
    port = int(url.partition("/#")[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.sendall(sent.replace(b"PORT", str(port).encode()))
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_what_is_no_path_is_refused_and_the_terminal_stays_quiet(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    told = raw(url, b"GET http://[ HTTP/1.0\r\nHost: 127.0.0.1:PORT\r\n\r\n")
    assert b" 400 " in told.splitlines()[0]
    assert capfd.readouterr().err == ""


def test_a_refused_method_has_the_policy_too(url: str) -> None:
    assert b"Content-Security-Policy: default-src 'none'" in raw(
        url, b"POST /data HTTP/1.0\r\n\r\n"
    )


def test_who_says_nothing_is_hung_up_on(capfd: pytest.CaptureFixture[str]) -> None:
    pages = serving.Pages(lambda _: "{}", token="secret")
    with serving.serving(pages, patience=0.05) as url:
        assert raw(url, b"GET / HTTP/1.0\r\n") == b""
    assert capfd.readouterr().err == ""


def test_silent_connections_take_no_more_than_their_share(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MOST", 1)
    pages = serving.Pages(lambda _: "{}", token="secret")
    with serving.serving(pages) as crowded, contextlib.ExitStack() as held:
        port = int(crowded.partition("/#")[0].rpartition(":")[2])
        held.enter_context(socket.create_connection(("127.0.0.1", port)))
        # They are taken in the order in which they come, so the first one has the only place.
        assert raw(crowded, b"") == b""


@pytest.mark.parametrize("chosen", ["default/..", "default/demo?limit=1", "a/../../b", "demo"])
def test_what_is_no_name_of_a_set_is_not_asked_for(server: servers.Server, chosen: str) -> None:
    told = answer(chosen)
    assert "chosen" not in told
    assert not [one for one in server.asked if ".." in one or "demo" in one]


def test_it_listens_on_loopback_alone_and_the_token_is_in_the_fragment(url: str) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/#token=secret", url)
    assert len({serving.Pages(lambda _: "").token for _ in range(20)}) == 20


@pytest.mark.parametrize("path", ["/", "/page.js", "/data"])
def test_each_answer_says_what_a_browser_may_do_with_it(url: str, path: str) -> None:
    _, _, headers = ask(url, path, Authorization=OWN)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("name", PAGES)
def test_the_page_asks_no_other_host_and_reads_nothing_as_html(name: str) -> None:
    text = (files.files("lws_kueue.kubectl.dashboard") / name).read_text()
    assert "//" not in re.sub(r"(?m)^\s*//.*$|\s// .*$", "", text), "no URL of another host"
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert unsafe not in text
    if name == "page.html":
        assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?! src=)", text)


def test_the_resources_of_a_queue_that_nobody_may_read_are_left_out(
    server: servers.Server,
) -> None:
    server.objects[resources.CLUSTER_QUEUES] = []
    assert "queues" not in answer()
