"""Defaults of a LeaderWorkerSet (lws-contract 1.1, 1.2 and 6.1)."""

from typing import Any

import pytest

from tests.kit.admission import support

ROLLOUT = {
    "type": "RollingUpdate",
    "rollingUpdateConfiguration": {"partition": 0, "maxUnavailable": 1, "maxSurge": 0},
}


def _with_ports(containers: list[dict[str, Any]]) -> dict[str, Any]:
    return support.template(workerTemplate={"spec": {"containers": containers}})


@pytest.mark.row("DEF-01")
def test_a_set_without_replicas_has_one_group(sets: support.Sets) -> None:
    given = sets.build({"replicas": None})
    assert "replicas" not in given["spec"]
    assert sets.accept(given)["spec"] == sets.build({"replicas": 1})["spec"]


@pytest.mark.row("DEF-02")
def test_a_set_without_a_size_has_groups_of_one_pod(sets: support.Sets) -> None:
    given = sets.build(support.template(size=None))
    assert sets.accept(given)["spec"] == sets.build(support.template(size=1))["spec"]


@pytest.mark.row("DEF-03")
def test_a_complete_spec_is_stored_as_it_was_given(sets: support.Sets) -> None:
    given = sets.build()
    assert sets.accept(given)["spec"] == given["spec"]


@pytest.mark.row("DEF-04")
@pytest.mark.parametrize("empty", [None, ""])
def test_groups_are_recreated_on_a_restart_unless_said_otherwise(
    sets: support.Sets, empty: str | None
) -> None:
    stored = sets.accept(sets.build(support.template(restartPolicy=empty)))
    assert stored["spec"]["leaderWorkerTemplate"]["restartPolicy"] == "RecreateGroupOnPodRestart"


@pytest.mark.row("DEF-05", "DEF-06")
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("None", "None"),
        ("Default", "None"),
        ("RecreateGroupAfterStart", "RecreateGroupAfterStart"),
    ],
)
def test_restart_policies_are_kept_and_default_is_called_none(
    sets: support.Sets, given: str, stored: str
) -> None:
    answer = sets.accept(sets.build(support.template(restartPolicy=given)))
    assert answer["spec"]["leaderWorkerTemplate"]["restartPolicy"] == stored


@pytest.mark.row("DEF-06")
def test_default_is_called_none_on_an_update_too(sets: support.Sets) -> None:
    sets.store(sets.build())
    stored = sets.update("test-sample", {"spec": support.template(restartPolicy="Default")})
    assert stored["spec"]["leaderWorkerTemplate"]["restartPolicy"] == "None"


@pytest.mark.row("DEF-07", "DEF-08")
@pytest.mark.parametrize(
    ("given", "stored"), [(None, "LeaderCreated"), ("LeaderReady", "LeaderReady")]
)
def test_workers_start_when_the_leader_is_created_unless_said_otherwise(
    sets: support.Sets, given: str | None, stored: str
) -> None:
    answer = sets.accept(sets.build({"startupPolicy": given}))
    assert answer["spec"]["startupPolicy"] == stored


@pytest.mark.row("DEF-09")
@pytest.mark.parametrize("network", [None, {}, {"subdomainPolicy": None}])
def test_groups_share_a_subdomain_unless_said_otherwise(
    sets: support.Sets, network: dict[str, Any] | None
) -> None:
    given = sets.build()
    del given["spec"]["networkConfig"]
    if network is not None:
        given["spec"]["networkConfig"] = network
    assert sets.accept(given)["spec"]["networkConfig"] == {"subdomainPolicy": "Shared"}


@pytest.mark.row("DEF-10")
@pytest.mark.parametrize(
    "strategy",
    [
        None,
        {},
        {"type": ""},
        {"type": "RollingUpdate"},
        {"type": "RollingUpdate", "rollingUpdateConfiguration": None},
        {"rollingUpdateConfiguration": {}},
    ],
)
def test_groups_are_updated_one_by_one_unless_said_otherwise(
    sets: support.Sets, strategy: dict[str, Any] | None
) -> None:
    given = sets.build()
    del given["spec"]["rolloutStrategy"]
    if strategy is not None:
        given["spec"]["rolloutStrategy"] = strategy
    assert sets.accept(given)["spec"]["rolloutStrategy"] == ROLLOUT


@pytest.mark.row("DEF-11")
def test_a_given_pace_of_updates_is_kept(sets: support.Sets) -> None:
    given = sets.build(support.rollout(partition=2, maxUnavailable=2, maxSurge=1))
    assert sets.accept(given)["spec"] == given["spec"]


def test_fields_inside_pod_templates_get_the_defaults_that_revision_keys_contain(
    sets: support.Sets,
) -> None:
    container = {
        "name": "c",
        "image": "image",
        "ports": [{"containerPort": 1}],
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"key": "k"}}}],
        "livenessProbe": {"grpc": {"port": 1}},
    }
    stored = sets.accept(sets.build(_with_ports([container])))
    spec = stored["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]
    assert spec == {
        "containers": [
            {
                "name": "c",
                "image": "image",
                "ports": [{"containerPort": 1, "protocol": "TCP"}],
                "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"key": "k", "name": ""}}}],
                "livenessProbe": {"grpc": {"port": 1, "service": ""}},
            }
        ]
    }


def test_a_template_without_metadata_gets_empty_ones(sets: support.Sets) -> None:
    given = sets.build()
    del given["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    del given["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"]
    stored = sets.accept(given)["spec"]["leaderWorkerTemplate"]
    assert stored["workerTemplate"]["metadata"] == {}
    assert "leaderTemplate" not in stored


def test_metadata_of_templates_keeps_only_what_a_pod_can_take_over(sets: support.Sets) -> None:
    kept = {
        "name": "n",
        "namespace": "ns",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "finalizers": ["example.com/f"],
    }
    given = {**kept, "uid": "u", "generateName": "g", "ownerReferences": []}
    stored = sets.accept(sets.build(support.template(workerTemplate={"metadata": given})))
    assert stored["spec"]["leaderWorkerTemplate"]["workerTemplate"]["metadata"] == kept


def test_volume_claims_are_stored_as_they_were_given(sets: support.Sets) -> None:
    claim = {
        "metadata": {"name": "data", "labels": {"a": "b"}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast",
        },
    }
    retention = {"whenDeleted": "Delete", "whenScaled": "Retain"}
    given = sets.build(
        support.template(
            volumeClaimTemplates=[claim], persistentVolumeClaimRetentionPolicy=retention
        )
    )
    assert sets.accept(given)["spec"] == given["spec"]
