"""The headless Services: when one is made, and that it is upstream's (lws-contract 3.4)."""

import dataclasses
import datetime
from typing import Any

import pytest

from lws_kueue.api import actions, facts, names
from lws_kueue.controller import decide
from lws_kueue.controller.observe import observed
from lws_kueue.controller.revision import revisions
from lws_kueue.workload import build
from tests.kit.builders import given

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
UNIQUE: dict[str, Any] = {"networkConfig": {"subdomainPolicy": "UniquePerReplica"}}


def plan(*leaders: facts.Pod, services: tuple[str, ...] = (), **options: Any) -> actions.Plan:
    owner = given.an_lws(size=1, replicas=len(leaders), **options)
    choice = revisions.choose(owner, revisions=(), leader_key=None)
    leader_set = given.a_leader_set(replicas=len(leaders), labels={names.REVISION_KEY: choice.key})
    seen = observed.Observed(
        namespace=given.NAMESPACE,
        name=given.NAME,
        lws=owner,
        kueue=observed.Kueue("missing"),
        stateful_sets={given.NAME: leader_set},
        pods={leader.meta.name: leader for leader in leaders},
        services={n: facts.Service.of({"metadata": {"name": n}}) for n in services},
    )
    return decide.decide(seen, now=NOW, options=build.Options())


def made(plan: actions.Plan) -> dict[str, Any]:
    """The specs of the Services that are created, by name."""
    bodies = [a.body for chain in plan.chains for a in chain if isinstance(a, actions.Create)]
    return {b["metadata"]["name"]: b["spec"] for b in bodies if b["kind"] == "Service"}


def test_one_service_finds_all_pods_of_a_set_that_shares_a_subdomain() -> None:
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {names.SET_NAME: given.NAME},
    }
    assert made(plan(given.a_leader(0, size=1))) == {given.NAME: spec}
    assert made(plan(given.a_leader(0, size=1), services=(given.NAME,))) == {}


def test_each_group_gets_its_own_service_where_subdomains_are_unique() -> None:
    leaders = [given.a_leader(index, size=1) for index in (0, 7)]
    found = made(plan(*leaders, services=(f"{given.NAME}-0",), **UNIQUE))
    assert list(found) == [f"{given.NAME}-7"]
    selector = found[f"{given.NAME}-7"]["selector"]
    assert selector == {names.SET_NAME: given.NAME, names.GROUP_INDEX: "7"}


def test_a_group_that_still_has_a_subdomain_of_its_own_gets_its_service_during_an_update() -> None:
    older, newer = (
        dataclasses.replace(given.a_leader(index, size=1), spec={"subdomain": subdomain})
        for index, subdomain in enumerate((f"{given.NAME}-0", given.NAME))
    )
    assert set(made(plan(older, newer))) == {given.NAME, f"{given.NAME}-0"}
    kept = (given.NAME, f"{given.NAME}-0")
    assert made(plan(older, newer, services=kept)) == {}


@pytest.mark.row("UT-23")
def test_a_leader_that_is_being_deleted_gets_no_service_and_nobody_waits_for_it() -> None:
    found = plan(given.a_leader(0, size=1, deleted=True), **UNIQUE)
    assert made(found) == {}
    assert found.recheck_after is None
