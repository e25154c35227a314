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
    assert paused["metadata"]["annotations"] == {names.PAUSED: f"{partition}/3"}
    owner = lws.LeaderWorkerSet.of(paused)
    assert owner.spec.rollout_strategy.rolling_update_configuration.partition == 3
    assert rollout.paused(owner) == {}
    assert merged(paused, rollout.resumed(owner)) == live


def held(*, replicas: int, partition: int, annotation: str) -> dict[str, Any]:
    return a_set(
        replicas=replicas,
        rollout={"partition": partition},
        annotations={names.PAUSED: annotation},
    )


@pytest.mark.parametrize("partition", [0, 2, 5])
def test_a_partition_that_somebody_edits_while_the_set_is_paused_stays(partition: int) -> None:
    live = held(replicas=3, partition=partition, annotation="1/3")
    owner = lws.LeaderWorkerSet.of(live)
    after = merged(live, rollout.resumed(owner))
    assert after["spec"] == live["spec"]
    assert names.PAUSED not in after["metadata"]["annotations"]
    assert rollout.told_resumed(owner) == (
        f"resumed at partition {partition}, which somebody has set while it was paused; it was 1"
        " before"
    )


@pytest.mark.parametrize("replicas", [1, 3, 8])
def test_groups_that_came_or_went_meanwhile_are_no_edit_of_the_partition(replicas: int) -> None:
    live = held(replicas=replicas, partition=3, annotation="1/3")
    owner = lws.LeaderWorkerSet.of(live)
    after = lws.LeaderWorkerSet.of(merged(live, rollout.resumed(owner)))
    assert after.spec.rollout_strategy.rolling_update_configuration.partition == 1
    assert rollout.told_resumed(owner) == "resumed"


@pytest.mark.parametrize(("annotation", "partition"), [("2", 2), ("", 0), ("x/y", 0), ("2/", 2)])
def test_an_annotation_that_tells_less_gives_back_what_it_tells(
    annotation: str, partition: int
) -> None:
    live = held(replicas=3, partition=3, annotation=annotation)
    after = merged(live, rollout.resumed(lws.LeaderWorkerSet.of(live)))
    assert after["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"]["partition"] == partition


def test_a_set_that_is_not_paused_is_not_resumed() -> None:
    assert rollout.resumed(given.an_lws()) == {}


def test_a_paused_set_is_not_restarted() -> None:
    owner = given.an_lws(annotations={names.PAUSED: "0/3"})
    with pytest.raises(ValueError, match="kubectl lws rollout resume test-sample goes before"):
        rollout.restarted(owner, now=NOW)


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
