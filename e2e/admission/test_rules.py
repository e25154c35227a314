"""Rules about a LeaderWorkerSet: what is refused, at which field, and what is not (6.2)."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.kit.admission import support

REPLICAS = "spec.replicas"
SIZE = "spec.leaderWorkerTemplate.size"
RESTART = "spec.leaderWorkerTemplate.restartPolicy"
ROLLING = "spec.rolloutStrategy.rollingUpdateConfiguration"
UNAVAILABLE = f"{ROLLING}.maxUnavailable"
SURGE = f"{ROLLING}.maxSurge"
PARTITION = f"{ROLLING}.partition"

Change = Mapping[str, Any]


def row(id_: str, *values: Any) -> Any:
    """Return a parameter set that carries the id of an acceptance row."""
    return pytest.param(*values, marks=pytest.mark.row(id_), id=id_)


# A new set -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        row("VAL-02", {"replicas": 100000, **support.template(size=1000000)}, REPLICAS),
        row("VAL-03", support.template(size=-1), SIZE),
        row("VAL-04", {"replicas": -1}, REPLICAS),
        row("VAL-05", {"replicas": 1000001}, REPLICAS),
        row("VAL-06", {"startupPolicy": "bogus"}, "spec.startupPolicy"),
        row("VAL-25", support.template(restartPolicy="bogus"), RESTART),
        row("VAL-26", {"rolloutStrategy": {"type": "bogus"}}, "spec.rolloutStrategy.type"),
        row("VAL-28", support.rollout(maxUnavailable="200%"), UNAVAILABLE),
        row("VAL-29", support.rollout(maxUnavailable=-1), UNAVAILABLE),
        row("VAL-31", support.rollout(maxSurge="200%"), SURGE),
        row("VAL-32", support.rollout(maxSurge=-1), SURGE),
        row("VAL-33", support.rollout(maxUnavailable=0, maxSurge=0), UNAVAILABLE),
        row("VAL-36", support.rollout(maxUnavailable="25%", maxSurge=0), UNAVAILABLE),
        row("VAL-37", support.rollout(partition=-1), PARTITION),
        pytest.param(support.template(size=0), SIZE, id="size-zero"),
        pytest.param(support.rollout(maxUnavailable="1"), UNAVAILABLE, id="no-percent-sign"),
        pytest.param(support.rollout(maxUnavailable="101%"), UNAVAILABLE, id="101-percent"),
        pytest.param(support.rollout(maxSurge="-5%"), SURGE, id="negative-percentage"),
        pytest.param(
            support.rollout(maxUnavailable="9" * 30 + "%"), UNAVAILABLE, id="beyond-any-integer"
        ),
        pytest.param(support.rollout(maxUnavailable=0, maxSurge="0%"), UNAVAILABLE, id="zero-%"),
        pytest.param(
            {"networkConfig": {"subdomainPolicy": "bogus"}},
            "spec.networkConfig.subdomainPolicy",
            id="subdomain-policy",
        ),
        pytest.param(
            {"leaderWorkerTemplate": {"workerTemplate": None}},
            "spec.leaderWorkerTemplate.workerTemplate",
            id="no-worker-template",
        ),
        pytest.param(
            support.template(workerTemplate={"spec": {"containers": None}}),
            "spec.leaderWorkerTemplate.workerTemplate.spec.containers",
            id="no-containers",
        ),
    ],
)
def test_a_new_set_is_refused_at_the_field_that_is_wrong(
    sets: support.Sets, change: Change, field: str
) -> None:
    with support.refused() as refusal:
        sets.accept(sets.build(change))
    assert field in refusal.fields, refusal


@pytest.mark.parametrize(
    "change",
    [
        row("VAL-24", support.template(restartPolicy="None")),
        row("VAL-27", support.rollout(maxUnavailable=10)),
        row("VAL-30", support.rollout(maxSurge=10)),
        row("VAL-34", support.rollout(maxUnavailable=0, maxSurge=1)),
        row("VAL-35", {"replicas": 0, **support.rollout(maxUnavailable="25%", maxSurge="25%")}),
        row("VAL-38", {"replicas": 3, **support.rollout(partition=5)}),
        row("VAL-39", {"replicas": 3, **support.rollout(partition=3)}),
        row("VAL-40", support.rollout(partition=0)),
        pytest.param(
            {"replicas": 0, **support.rollout(maxUnavailable=0, maxSurge=0)}, id="no-groups"
        ),
        pytest.param(support.rollout(maxUnavailable="50%"), id="half-of-two-is-one"),
        pytest.param(support.rollout(maxUnavailable="0%", maxSurge="1%"), id="surge-rounds-up"),
        pytest.param(support.rollout(maxUnavailable="100%"), id="100-percent"),
        pytest.param({"replicas": 1000000, **support.template(size=2147)}, id="largest-product"),
    ],
)
def test_a_new_set_is_stored_as_it_was_given(sets: support.Sets, change: Change) -> None:
    given = sets.build(change)
    assert sets.accept(given)["spec"] == given["spec"]


def test_each_fault_of_a_share_is_told_apart(sets: support.Sets) -> None:
    with support.refused() as refusal:
        sets.accept(sets.build(support.rollout(maxUnavailable="101%", maxSurge="x")))
    assert set(refusal.fields) == {UNAVAILABLE, SURGE}
    assert "must not be more than 100%" in refusal.message
    assert "must be an integer of at least 0, or a percentage" in refusal.message


FORM = "must be an integer of at least 0, or a percentage"


@pytest.mark.row("UT-28", "UT-29")
@pytest.mark.parametrize("field", ["maxUnavailable", "maxSurge"])
def test_a_share_is_a_number_or_a_percentage_of_at_most_everything(
    sets: support.Sets, field: str
) -> None:
    # The other field stays above 0, because both together must not be 0.
    other = {"maxUnavailable": "maxSurge", "maxSurge": "maxUnavailable"}[field]
    for share in (0, 1, 101, "0%", "1%", "99%", "100%"):
        given = sets.build(support.rollout(**{field: share, other: 1}))
        assert sets.accept(given)["spec"] == given["spec"]
    for share, complaint in (
        (-1, FORM),
        ("1", FORM),
        ("-1%", FORM),
        ("101%", "must not be more than 100%"),
    ):
        with support.refused() as refusal:
            sets.accept(sets.build(support.rollout(**{field: share, other: 1})))
        assert f"{ROLLING}.{field}" in refusal.fields
        assert complaint in refusal.message


@pytest.mark.row("UT-29")
def test_a_partition_is_never_negative(sets: support.Sets) -> None:
    for partition in (0, 1):
        sets.accept(sets.build(support.rollout(partition=partition)))
    with support.refused() as refusal:
        sets.accept(sets.build(support.rollout(partition=-1)))
    assert refusal.fields == (PARTITION,)


# Names ---------------------------------------------------------------------------------------


@pytest.mark.row("VAL-01")
@pytest.mark.parametrize("name", ["2cube", "with.dot", "a" * 64])
def test_a_name_that_cannot_be_a_service_is_refused(sets: support.Sets, name: str) -> None:
    with support.refused() as refusal:
        sets.accept(sets.build(name=name))
    assert "metadata.name" in refusal.fields
    assert "DNS-1035" in refusal.message


@pytest.mark.parametrize(
    ("length", "replicas", "size", "surge"),
    [
        pytest.param(50, 10, 2, 0, id="last-index-9"),
        pytest.param(49, 11, 2, 0, id="last-index-10"),
        pytest.param(49, 10, 2, 1, id="surge-to-10"),
        pytest.param(50, 5, 2, "100%", id="surge-to-9"),
        # An integer is never more than replicas, so the last index is 9.
        pytest.param(50, 5, 2, 1000, id="surge-is-capped"),
        pytest.param(50, 0, 2, 0, id="no-groups"),
        # Without workers only the leaders' StatefulSet makes pods.
        pytest.param(52, 100, 1, 0, id="no-workers"),
    ],
)
def test_a_name_is_refused_only_where_pods_could_not_be_labelled(
    sets: support.Sets, length: int, replicas: int, size: int, surge: int | str
) -> None:
    change = {
        "replicas": replicas,
        **support.template(size=size),
        **support.rollout(maxSurge=surge),
    }
    sets.accept(sets.build(change, name="n" * length))
    with support.refused() as refusal:
        sets.accept(sets.build(change, name="n" * (length + 1)))
    assert refusal.fields == ("metadata.name",)
    assert "too long" in refusal.message


@pytest.mark.parametrize(
    "change",
    [{"replicas": 11}, support.rollout(maxSurge=1)],
    ids=["replicas", "surge"],
)
def test_a_set_cannot_outgrow_its_name(sets: support.Sets, change: Change) -> None:
    name = "n" * 50
    sets.store(sets.build({"replicas": 10}, name=name))
    with support.refused() as refusal:
        sets.update(name, {"spec": change})
    assert refusal.fields == (REPLICAS,)
    sets.update(name, {"spec": {"replicas": 3}})


def test_an_autoscaler_cannot_make_a_set_outgrow_its_name(sets: support.Sets) -> None:
    name = "n" * 50
    sets.store(sets.build({"replicas": 10}, name=name))
    with support.refused():
        sets.update(name, {"spec": {"replicas": 11}}, subresource="scale")


# A stored set --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "change", "field"),
    [
        row("VAL-11", {"replicas": 100000}, support.template(size=100000000), REPLICAS),
        row("VAL-12", {}, {"replicas": -1}, REPLICAS),
        row("VAL-13", {}, {"startupPolicy": "bogus"}, "spec.startupPolicy"),
        row("VAL-18", {}, {"replicas": 1000001}, REPLICAS),
        row("VAL-42", {"replicas": 5}, support.rollout(partition=-1), PARTITION),
    ],
)
def test_an_update_is_refused_at_the_field_that_is_wrong(
    sets: support.Sets, stored: Change, change: Change, field: str
) -> None:
    sets.store(sets.build(stored))
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": change})
    assert field in refusal.fields, refusal


@pytest.mark.parametrize(
    ("stored", "change"),
    [
        row("VAL-10", {}, support.template(size=3)),
        row("VAL-17", {"replicas": 1}, {"replicas": 3}),
        row(
            "VAL-19",
            {},
            support.template(
                leaderTemplate=support.pod_template("other-leader", "image:2"),
                workerTemplate=support.pod_template("other-worker", "image:2"),
            ),
        ),
        row(
            "VAL-20",
            {"networkConfig": {"subdomainPolicy": "UniquePerReplica"}},
            {"networkConfig": {"subdomainPolicy": "Shared"}},
        ),
        row("VAL-21", {}, {"networkConfig": {"subdomainPolicy": "UniquePerReplica"}}),
        row(
            "VAL-22",
            {"networkConfig": None},
            {"networkConfig": {"subdomainPolicy": "UniquePerReplica"}},
        ),
        row("VAL-41", {"replicas": 5}, support.rollout(partition=2)),
        row("VAL-43", {"replicas": 5}, support.rollout(partition=10)),
        row("VAL-44", {"replicas": 5}, support.rollout(partition=5)),
        row(
            "VAL-45", {"replicas": 5, **support.rollout(partition=5)}, support.rollout(partition=0)
        ),
        pytest.param({}, support.template(restartPolicy="None"), id="restart-policy"),
        pytest.param({}, {"startupPolicy": "LeaderReady"}, id="startup-policy"),
        pytest.param({}, {"replicas": 0}, id="to-zero"),
    ],
)
def test_an_update_is_stored(sets: support.Sets, stored: Change, change: Change) -> None:
    before = sets.store(sets.build(stored))
    after = sets.update("test-sample", {"spec": change})
    assert after["spec"] == support.merged(before["spec"], change)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


@pytest.mark.row("VAL-23")
def test_a_subdomain_policy_of_null_is_the_default_again(sets: support.Sets) -> None:
    sets.store(sets.build({"networkConfig": {"subdomainPolicy": "UniquePerReplica"}}))
    after = sets.update("test-sample", {"spec": {"networkConfig": {"subdomainPolicy": None}}})
    assert after["spec"]["networkConfig"] == {"subdomainPolicy": "Shared"}


def test_fewer_replicas_must_not_round_the_rollout_down_to_nothing(sets: support.Sets) -> None:
    sets.store(sets.build({"replicas": 4, **support.rollout(maxUnavailable="25%")}))
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": {"replicas": 2}})
    assert f"{UNAVAILABLE}: must not be 0" in refusal.message
    sets.update("test-sample", {"spec": {"replicas": 0}})


def test_an_autoscaler_may_round_the_rollout_down_to_nothing_and_the_set_stays_writable(
    sets: support.Sets,
) -> None:
    sets.store(sets.build({"replicas": 4, **support.rollout(maxUnavailable="25%")}))
    sets.update("test-sample", {"spec": {"replicas": 2}}, subresource="scale")
    assert sets.get("test-sample")["spec"]["replicas"] == 2
    sets.update("test-sample", {"spec": support.template(restartPolicy="None")})
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": support.rollout(maxUnavailable="30%")})
    assert refusal.fields == (UNAVAILABLE,)


def test_scaling_keeps_to_the_bounds_of_replicas(sets: support.Sets) -> None:
    sets.store(sets.build())
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": {"replicas": 1000001}}, subresource="scale")
    assert REPLICAS in refusal.fields


@pytest.mark.parametrize("amount", ["1e1000000", "1E99999999", "1e-0100"])
@pytest.mark.parametrize("kind", ["requests", "limits"])
def test_an_amount_that_kubernetes_cannot_read_is_refused_with_its_path(
    sets: support.Sets, amount: str, kind: str
) -> None:
    container = {"name": "c", "image": "i", "resources": {kind: {"cpu": amount}}}
    template = {"spec": {"containers": [{"name": "first", "image": "i"}, container]}}
    for name in ("leaderTemplate", "workerTemplate"):
        with support.refused() as refusal:
            sets.accept(sets.build(support.template(**{name: template})))
        path = f"spec.leaderWorkerTemplate.{name}.spec.containers[1].resources.{kind}[cpu]"
        assert f"{path}: must be a quantity" in refusal.message


@pytest.mark.parametrize("amount", ["1e3", "1E99", "1e-9", "1Ei", "0.5", 2])
def test_an_amount_that_kubernetes_reads_is_taken(sets: support.Sets, amount: Any) -> None:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": amount}}}
    template = {"spec": {"containers": [container], "initContainers": [container | {"name": "d"}]}}
    sets.accept(sets.build(support.template(workerTemplate=template)))
