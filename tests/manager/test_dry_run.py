"""What `lws-kueue run --dry-run` prints, and with which status it ends."""

import asyncio
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lws_kueue import cli
from lws_kueue.api import actions
from lws_kueue.api.indices import Indices
from lws_kueue.controller import forecast
from lws_kueue.manager import command, dry_run, process
from lws_kueue.runtime import client, keys

A, B = keys.SetKey("a", "serve"), keys.SetKey("b", "serve")
ROLLED = forecast.Forecast(
    replaced=(forecast.Replaced(Indices([0, 1, 2, 5]), "StatefulSet serve would change in x"),),
    others={("update", "StatefulSet"): 1, ("create", "Workload"): 2},
)
STOPPED = forecast.Forecast(
    stopped=(forecast.Stopped(("train-0", "train-0-1"), "Stopping 2 pods: Preempted"),)
)
WRITTEN = forecast.Forecast(others={("update", "status of LeaderWorkerSet"): 1})
REST = forecast.Forecast()


def printed(policies: tuple[str, ...] = (), **sets: forecast.Forecast) -> list[str]:
    """The lines of a report but for the first, which names version and server."""
    by_key = {keys.SetKey(*name.split("__")): one for name, one in sets.items()}
    head, empty, *rest = dry_run.text(dry_run.Report("https://there", by_key, policies)).split("\n")
    assert head.startswith("A dry run of lws-kueue ")
    assert head.endswith(" at https://there; nothing is written.")
    assert not empty
    return rest


def test_a_cluster_at_rest_is_told_in_one_line() -> None:
    assert printed(a__serve=REST, b__train=REST) == ["Nothing would change. Looked at 2 sets."]
    assert printed(a__serve=REST) == ["Nothing would change. Looked at 1 set."]
    assert printed() == ["Nothing would change. Looked at 0 sets."]


def test_sets_are_told_in_the_order_of_their_names_with_what_becomes_of_their_pods() -> None:
    assert printed(b__train=STOPPED, b__other=REST, a__serve=ROLLED) == [
        "a/serve",
        "  would replace all pods of groups 0 to 2, 5: StatefulSet serve would change in x",
        "  other writes: 2 Workload created, 1 StatefulSet changed",
        "",
        "b/train",
        "  would stop pods train-0, train-0-1: Stopping 2 pods: Preempted",
        "",
        "Pods would be replaced or stopped. Sets: a/serve, b/train.",
    ]


def test_other_writes_are_counted_and_said_to_disturb_nobody() -> None:
    assert printed(a__serve=WRITTEN, b__serve=REST)[1:] == [
        "  other writes: 1 status of LeaderWorkerSet changed",
        "",
        "No pod would be replaced or stopped. 1 of 2 sets would be written to.",
    ]


def test_warnings_and_errors_are_told_with_their_set() -> None:
    event = actions.Event("Warning", "InvalidSpec", "spec.replicas: no number")
    told = printed(a__serve=forecast.Forecast(warnings=(event,), undecided=True))
    assert told[2] == "  would say InvalidSpec: spec.replicas: no number"
    assert "cannot be decided" in told[1]
    assert told[-1] == "Pods would be replaced or stopped. Sets: a/serve."
    assert printed(a__serve=forecast.Forecast(warnings=(event,)))[-1].startswith("Nothing would")


def test_of_many_pods_some_are_named() -> None:
    pods = tuple(f"serve-0-{number}" for number in range(1, 100))
    line = printed(a__serve=forecast.Forecast(stopped=(forecast.Stopped(pods, "why"),)))[1]
    assert line.endswith("serve-0-10 and 89 more: why")


def test_what_is_wrong_with_the_policies_is_told_as_well() -> None:
    told = printed(("ValidatingAdmissionPolicy x is missing",), a__serve=REST)
    assert "lws-kueue install" in told[0]
    assert told[1] == "  ValidatingAdmissionPolicy x is missing"
    assert told[-1].startswith("Nothing would change")


# The command ---------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, outcome: dry_run.Report | Exception) -> Result:
    async def look(*_: Any, **__: Any) -> dry_run.Report:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def never(*_: Any, **__: Any) -> None:
        raise AssertionError("the controller was started")

    monkeypatch.setattr(dry_run, "look", look)
    monkeypatch.setattr(process, "run", never)
    monkeypatch.setattr(command, "_set_up_logs", lambda _: None)
    return CliRunner().invoke(cli.main, ["run", "--dry-run"])


@pytest.mark.parametrize(
    ("one", "status"), [(REST, 0), (WRITTEN, 0), (ROLLED, 3), (STOPPED, 3)], ids=str
)
def test_the_status_says_whether_pods_would_be_disturbed(
    one: forecast.Forecast, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(monkeypatch, dry_run.Report("there", {A: one, B: REST}))
    assert result.exit_code == status
    assert result.stdout.startswith("A dry run of lws-kueue")


def test_a_cluster_that_cannot_be_looked_at_is_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    error = client.ApiError(status=403, reason="Forbidden", message="no", request="GET /x")
    result = run(monkeypatch, error)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "lws-kueue: GET /x: 403 Forbidden" in result.stderr


# What keeps it from writing ------------------------------------------------------------------


def test_a_client_that_may_not_write_sends_dry_runs_and_reads_alone() -> None:
    async def scenario() -> None:
        from kubernetes.aio import client as kube_client

        api = client.Client(kube_client.Configuration(host="http://127.0.0.1:9"))
        api.may_write = lambda: False
        try:
            for query, reason in (
                ({"dryRun": "All", "fieldManager": "x"}, "ClientConnectorError"),
                ({"fieldManager": "dryRun=All"}, "NotLeading"),
                ({"dryRun": ""}, "NotLeading"),
                ({}, "NotLeading"),
            ):
                with pytest.raises(client.ApiError) as refused:
                    await api.request("POST", "/x", query=query, body={})
                assert refused.value.reason == reason
            with pytest.raises(client.ApiError) as away:
                await api.request("GET", "/x")
            assert away.value.reason == "ClientConnectorError"
        finally:
            await api.close()

    asyncio.run(scenario())
