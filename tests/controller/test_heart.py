"""How a pass is put together: what is derived once, what never is, and whose turn comes first."""

import dataclasses
import datetime
from collections.abc import Collection
from typing import Any

import pytest

from lws_kueue.api import actions, facts
from lws_kueue.controller import decide, restarts
from lws_kueue.controller.admission import node_failures, shortages
from lws_kueue.controller.observe import groups, observed
from lws_kueue.controller.rollout import replacement, revert
from lws_kueue.workload import build
from tests.controller import test_shortages as short
from tests.controller.test_decide import SET, cluster, settle
from tests.kit.memory import cluster_model


def plan_of(seen: observed.Observed, now: datetime.datetime) -> actions.Plan:
    return decide.decide(seen, now=now, options=build.Options())


def deleted(plan: actions.Plan) -> set[str]:
    writes = (write for chain in plan.chains for write in chain)
    return {write.ref.kind for write in writes if isinstance(write, actions.Delete)}


def short_of_a_pod() -> cluster_model.Cluster:
    """Return a set of one admitted group, of which a pod is refused since this moment."""
    model = cluster(replicas=1)
    short.change_policy(model, "RecreateGroupOnPodRestart")
    settle(model)
    short.refuse(model, f"{SET}-0-2")
    model.delete("Pod", f"{SET}-0-2")
    settle(model)
    return model


def test_the_time_and_patience_are_of_a_decision_and_of_nothing_that_is_kept_of_what_was_seen() -> (
    None
):
    model = short_of_a_pod()
    seen, fresh = model.observe(SET), model.observe(SET)
    early, late = model.now, model.now + shortages.PATIENCE
    before = plan_of(seen, early)
    assert "Workload" not in deleted(before)
    assert "Workload" in deleted(plan_of(seen, late)), "the same facts, when patience is over"
    assert plan_of(seen, late) == plan_of(fresh, late)
    assert plan_of(seen, early) == before, "and the other way round"


def test_the_groups_of_a_set_are_put_together_once_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = short_of_a_pod()
    given = model.observe(SET)
    put_together: list[str] = []
    observe = groups.observe

    def counted(*args: Any, **kwargs: Any) -> groups.Groups:
        put_together.append(SET)
        return observe(*args, **kwargs)

    monkeypatch.setattr(groups, "observe", counted)
    seen = dataclasses.replace(given)
    decide.nodes_asked(seen)
    seen = seen.looked_up(nodes={}).looked_up(refusals={f"{SET}-0": short.WHY})
    plan = plan_of(seen, model.now)
    decide.complete_members(seen, plan)
    assert len(put_together) == 1


def test_what_is_looked_up_is_seen_by_the_decision_and_the_groups_stay() -> None:
    model = short_of_a_pod()
    seen = model.observe(SET)
    found = seen.found
    node = facts.Node.of({"metadata": {"name": "a"}})
    more = seen.looked_up(nodes={"a": node})
    assert more.nodes == {"a": node}
    assert more.refusals == seen.refusals
    assert more.found is found
    assert seen.looked_up(refusals={}).refusals == {}


def test_a_group_that_is_stopped_or_restarted_is_taken_down_by_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = cluster(replicas=3)
    settle(model)
    model.evict(model.admitted()[0])
    leader = model.objects["Pod", f"{SET}-1"]["metadata"]
    asked: dict[str, frozenset[int]] = {}

    def whole(**kwargs: Any) -> tuple[actions.Delete, ...]:
        asked["restart"] = frozenset(kwargs["leave_alone"])
        ref = actions.Ref("v1", "Pod", leader["namespace"], leader["name"])
        return (actions.Delete(ref, leader["uid"], propagation="Foreground"),)

    def later(name: str) -> Any:
        def note(*_: Any, leave_alone: Collection[int], **__: Any) -> tuple[actions.Delete, ...]:
            asked[name] = frozenset(leave_alone)
            return ()

        return note

    monkeypatch.setattr(restarts, "decide", lambda *_, **kwargs: whole(**kwargs))
    monkeypatch.setattr(node_failures, "deletions", later("displaced"))
    monkeypatch.setattr(replacement, "decide", later("replaced"))
    monkeypatch.setattr(revert, "decide", later("reverted"))
    model.decide(SET)
    assert list(asked) == ["restart", "displaced", "replaced", "reverted"]
    assert 0 in asked["restart"], "its pods are being stopped"
    assert 1 not in asked["restart"]
    assert {asked[name] for name in ("displaced", "replaced", "reverted")} == {frozenset({0, 1})}
