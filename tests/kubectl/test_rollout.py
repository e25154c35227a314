"""What `rollout` writes: the same template with a mark, or the set's own partition."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lws_kueue.api import lws, names
from lws_kueue.controller.revision import revisions
from lws_kueue.kubectl import rollout
from tests.kit.builders import given

NOW = datetime(2030, 1, 1, tzinfo=UTC)
MARK = {"kubectl.kubernetes.io/restartedAt": "2030-01-01T00:00:00+00:00"}


def merged(live: Any, patch: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def a_set(**options: Any) -> dict[str, Any]:
    return given.lws_object(**options)


def test_a_restart_marks_both_templates_and_makes_another_revision() -> None:
    live = a_set()
    before = lws.LeaderWorkerSet.of(live)
    after = lws.LeaderWorkerSet.of(merged(live, rollout.restarted(before, now=NOW)))
    template = after.spec.leader_worker_template
    assert template.leader_template is not None
    for one in (template.leader_template, template.worker_template):
        assert one["metadata"]["annotations"] == MARK
    keys = {revisions.key_of(revisions.data_of(one)) for one in (before, after)}
    assert len(keys) == 2


@pytest.mark.parametrize("partition", [0, 1])
def test_a_set_that_is_paused_and_resumed_is_as_it_was(partition: int) -> None:
    live = a_set(replicas=3, rollout={"partition": partition})
    paused = merged(live, rollout.paused(lws.LeaderWorkerSet.of(live)))
    assert paused["metadata"]["annotations"] == {names.PAUSED: str(partition)}
    held = lws.LeaderWorkerSet.of(paused)
    assert held.spec.rollout_strategy.rolling_update_configuration.partition == 3
    assert rollout.paused(held) == {}
    assert merged(paused, rollout.resumed(held)) == live


def test_a_set_that_is_not_paused_is_not_resumed() -> None:
    assert rollout.resumed(given.an_lws()) == {}


def test_a_paused_set_is_not_restarted() -> None:
    held = given.an_lws(annotations={names.PAUSED: "0"})
    with pytest.raises(ValueError, match="kubectl lws rollout resume test-sample goes before"):
        rollout.restarted(held, now=NOW)


def test_a_set_without_groups_cannot_be_paused() -> None:
    with pytest.raises(ValueError, match="there is nothing to pause"):
        rollout.paused(given.an_lws(replicas=0))


@pytest.mark.parametrize(
    ("conditions", "seen", "over"),
    [
        ([], 2, False),
        (["Available"], 2, True),
        (["Available"], 1, False),
        (["Available", "UpdateInProgress"], 2, False),
        (["Progressing"], 2, False),
    ],
)
def test_an_update_is_over_when_the_controller_has_seen_it_and_all_is_available(
    conditions: list[str], seen: int, over: bool
) -> None:
    told = [{"type": kind, "status": "True"} for kind in conditions]
    status = {"observedGeneration": seen, "conditions": told}
    assert rollout.over(given.an_lws(generation=2, status=status)) is over
