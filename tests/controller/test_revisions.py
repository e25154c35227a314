import json
from typing import Any

import pytest

from lws_kueue.api import facts, lws, names
from lws_kueue.controller.revision import revisions
from tests.kit import golden
from tests.kit.builders import given


def stored(body: dict[str, Any], **meta: Any) -> facts.Revision:
    """Return a revision as it is observed after it was created."""
    return facts.Revision.of(body | {"metadata": body["metadata"] | meta})


def revision_of(
    owner: lws.LeaderWorkerSet, number: int = 1, key: str | None = None
) -> facts.Revision:
    return stored(revisions.build(owner, number, key))


def with_image(image: str) -> lws.LeaderWorkerSet:
    template = {"metadata": {}, "spec": {"containers": [given.CONTAINER | {"image": image}]}}
    return given.an_lws(template={"workerTemplate": template})


@pytest.mark.parametrize("name", golden.NAMES)
def test_a_golden_set_gets_the_recorded_revision(name: str) -> None:
    recorded = golden.load(name)
    (revision,) = recorded.of_kind("ControllerRevision")
    built = revisions.build(lws.LeaderWorkerSet.of(recorded.stored), 1)
    expected = {**revision, "metadata": {**revision["metadata"]}}
    del expected["metadata"]["uid"]
    assert built == expected
    assert revisions.encode(built["data"]) == revisions.encode(revision["data"])


def test_the_key_of_the_hand_derived_golden() -> None:
    assert revisions.key_of(revisions.data_of(given.an_lws())) == "7bdcf6cbd6"


def test_bytes_are_compact_sorted_and_escaped_for_html() -> None:
    data = {"b": "<&>\u2028\u2029", "a": ["é", None, True, 0]}
    assert revisions.encode(data) == (
        '{"a":["é",null,true,0],"b":"\\u003c\\u0026\\u003e\\u2028\\u2029"}'.encode()
    )


def test_nothing_outside_of_template_and_network_is_in_a_revision() -> None:
    changed = given.an_lws(
        replicas=7,
        labels={"a": "b"},
        annotations={"c": "d"},
        rollout={"maxSurge": 3},
        startupPolicy="LeaderReady",
    )
    assert revisions.data_of(changed) == revisions.data_of(given.an_lws())


def test_a_long_name_is_cut_and_an_existing_key_is_kept() -> None:
    obj = given.lws_object()
    obj["metadata"]["name"] = "n" * 240
    body = revisions.build(lws.LeaderWorkerSet.of(obj), 3, "template-hash")
    assert body["metadata"]["name"] == "n" * 220 + "-7bdcf6cbd6-3"
    assert body["metadata"]["labels"][names.REVISION_KEY] == "template-hash"
    assert body["revision"] == 3


# The data of UT-38 as upstream's cases describe them.
_SOURCE = {"volumes": [{"name": "v", "emptyDir": None, "hostPath": {"path": "/x"}}]}
_PLAIN = {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}
_UNIQUE = {"networkConfig": {"subdomainPolicy": "UniquePerReplica"}}


def _with_pod(extra: dict[str, Any]) -> dict[str, Any]:
    spec = {"containers": [given.CONTAINER], **extra}
    return {"template": {"workerTemplate": {"metadata": {}, "spec": spec}}}


@pytest.mark.row("UT-38")
@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ({}, {}, True),
        ({"networkConfig": None}, {}, True),
        ({"networkConfig": None}, {"networkConfig": None}, True),
        ({"networkConfig": None}, {"networkConfig": {"subdomainPolicy": "Shared"}}, True),
        ({"networkConfig": None}, _UNIQUE, False),
        (_UNIQUE, {}, False),
        (_with_pod({"hostNetwork": True}), {}, False),
        (_with_pod(_SOURCE), _with_pod(_PLAIN), True),
    ],
)
def test_revisions_are_equal_when_their_content_is(
    left: dict[str, Any], right: dict[str, Any], equal: bool
) -> None:
    assert revisions.same(given.an_lws(**left), revision_of(given.an_lws(**right))) is equal


@pytest.mark.row("UT-38")
def test_content_counts_and_not_the_key() -> None:
    owner = given.an_lws()
    assert revisions.same(owner, revision_of(owner, key="another-key"))


@pytest.mark.row("UT-39", "UT-17")
def test_data_of_an_older_serialiser_are_the_same() -> None:
    owner = given.an_lws()
    body = json.loads(json.dumps(revisions.build(owner, 1)))
    template = body["data"]["spec"]["leaderWorkerTemplate"]
    for part in ("leaderTemplate", "workerTemplate"):
        template[part]["metadata"]["creationTimestamp"] = None
    assert revisions.same(owner, stored(body))
    assert not revisions.same(with_image("other"), stored(body))


@pytest.mark.row("UT-37")
def test_restoring_brings_back_template_and_network_and_nothing_else() -> None:
    old = given.an_lws(networkConfig={"subdomainPolicy": "UniquePerReplica"})
    new = given.an_lws(
        replicas=5, size=4, rollout={"maxSurge": 2}, startupPolicy="LeaderReady", generation=7
    )
    restored = revisions.restore(new, revision_of(old))
    assert restored.spec.leader_worker_template == old.spec.leader_worker_template
    assert restored.spec.network_config == old.spec.network_config
    assert restored.spec.rollout_strategy == new.spec.rollout_strategy
    assert (restored.spec.replicas, restored.spec.startup_policy) == (5, "LeaderReady")
    assert restored.meta == new.meta
    assert revisions.data_of(restored) == revisions.data_of(old)
    assert "$patch" not in restored.stored_spec["leaderWorkerTemplate"]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"spec": None},
        {"spec": {"leaderWorkerTemplate": 5, "networkConfig": {}}},
        {"spec": {"leaderWorkerTemplate": {"size": "many"}, "networkConfig": {}}},
        {"spec": {"leaderWorkerTemplate": {"workerTemplate": 5}, "networkConfig": {}}},
    ],
)
def test_a_broken_revision_is_told_apart(data: dict[str, Any]) -> None:
    owner = given.an_lws()
    broken = stored(revisions.build(owner, 1) | {"data": data})
    assert not revisions.same(owner, broken)
    with pytest.raises(revisions.BrokenRevision, match="test-sample-7bdcf6cbd6-1"):
        revisions.restore(owner, broken)


def test_revisions_of_other_controllers_are_not_ours() -> None:
    owner = given.an_lws()
    body = revisions.build(owner, 1)
    references = [given.reference("StatefulSet", given.NAME, given.LEADER_SET_UID)]
    foreign = stored(body, name="foreign", ownerReferences=references)
    orphan = stored(body, name="orphan", ownerReferences=[])
    unlabelled = stored(body, name="unlabelled", labels={})
    ours = stored(body)
    found = revisions.own(owner, (foreign, orphan, unlabelled, ours))
    assert found == (orphan, unlabelled, ours), "ownership counts, a label can be edited"


@pytest.mark.row("UT-40")
def test_the_highest_revision_of_none_one_and_many() -> None:
    owner = given.an_lws()
    one, two, ten = (revision_of(owner, number) for number in (1, 2, 10))
    assert revisions.highest(()) is None
    assert revisions.highest((one,)) == one
    assert revisions.highest((two, ten, one)) == ten
    assert revisions.find((two, ten, one), "7bdcf6cbd6") == ten
    assert revisions.find((one,), "other") is None
    assert revisions.find((stored(revisions.build(owner, 1), labels={}),), "") is None


@pytest.mark.row("UT-17")
def test_a_new_set_gets_its_first_revision() -> None:
    choice = revisions.choose(given.an_lws(), revisions=(), leader_key=None)
    assert choice.create is not None
    assert choice.create.body["metadata"]["name"] == "test-sample-7bdcf6cbd6-1"
    assert (choice.key, choice.updated, choice.stored) == ("7bdcf6cbd6", False, None)
    (event,) = choice.create.events
    assert event.message == (
        "Creating revision with key 7bdcf6cbd6 for a newly created LeaderWorkerSet"
    )


@pytest.mark.row("UT-17")
def test_an_unchanged_set_stays_at_its_revision() -> None:
    owner = given.an_lws()
    revision = revision_of(owner)
    choice = revisions.choose(owner, revisions=(revision,), leader_key="7bdcf6cbd6")
    assert choice == revisions.Choice(key="7bdcf6cbd6", updated=False, stored=revision)


@pytest.mark.row("UT-17")
def test_a_changed_template_makes_the_next_revision() -> None:
    changed = with_image("other")
    key = revisions.key_of(revisions.data_of(changed))
    choice = revisions.choose(
        changed, revisions=(revision_of(given.an_lws(), 4),), leader_key="7bdcf6cbd6"
    )
    assert choice.create is not None
    assert choice.updated
    assert choice.key == key != "7bdcf6cbd6"
    assert choice.create.body["metadata"]["name"] == f"test-sample-{key}-5"
    (event,) = choice.create.events
    assert event.message == f"Creating revision with key {key} for updated LWS"


def test_a_missing_revision_is_made_under_the_key_that_is_in_use() -> None:
    owner = given.an_lws()
    choice = revisions.choose(owner, revisions=(revision_of(owner),), leader_key="template-hash")
    assert choice.create is not None
    assert (choice.key, choice.updated) == ("template-hash", False)
    assert choice.create.body["metadata"]["name"] == "test-sample-7bdcf6cbd6-2"
    (event,) = choice.create.events
    assert event.message == (
        "Creating missing revision with key template-hash for existing LeaderWorkerSet"
    )
    made = stored(dict(choice.create.body))
    again = revisions.choose(owner, revisions=(made,), leader_key="template-hash")
    assert again == revisions.Choice(key="template-hash", updated=False, stored=made)


def test_a_retry_after_a_failed_apply_makes_no_further_revision() -> None:
    old, new = given.an_lws(), with_image("other")
    made = revision_of(new, 2)
    choice = revisions.choose(new, revisions=(revision_of(old), made), leader_key="7bdcf6cbd6")
    assert choice.create is None
    assert (choice.stored, choice.updated) == (made, True)


def test_a_lost_leader_set_makes_no_duplicate() -> None:
    owner = given.an_lws()
    choice = revisions.choose(owner, revisions=(revision_of(owner),), leader_key=None)
    assert choice.create is None
    assert (choice.key, choice.updated) == ("7bdcf6cbd6", False)


def test_a_rollback_uses_the_first_revision_again() -> None:
    first, second = given.an_lws(), with_image("other")
    mine = (revision_of(first, 1), revision_of(second, 2))
    choice = revisions.choose(first, revisions=mine, leader_key=revisions.key_label(mine[1]))
    assert (choice.stored, choice.create, choice.updated) == (mine[0], None, True)
    assert revisions.find(mine, choice.key) == mine[0]


def test_a_revision_that_a_lookup_would_not_find_is_not_used_again() -> None:
    first, second = given.an_lws(), with_image("other")
    hidden = revision_of(first, 1, key="same-key")
    shown = revision_of(second, 2, key="same-key")
    choice = revisions.choose(first, revisions=(hidden, shown), leader_key="same-key")
    assert choice.create is not None
    assert (choice.key, choice.updated) == ("7bdcf6cbd6", True)


def test_a_leader_set_without_a_key_takes_the_revision_that_fits() -> None:
    owner = given.an_lws()
    revision = revision_of(owner)
    assert revisions.choose(owner, revisions=(revision,), leader_key="").stored == revision
    assert revisions.choose(owner, revisions=(), leader_key="").key == "7bdcf6cbd6"


def test_other_keys_and_older_duplicates_are_obsolete() -> None:
    owner = given.an_lws()
    duplicate, kept, other = (
        revision_of(owner, 1),
        revision_of(owner, 3),
        revision_of(owner, 2, "x"),
    )
    assert revisions.obsolete((duplicate, kept, other), "7bdcf6cbd6") == (duplicate, other)


def test_a_revision_that_somebody_holds_is_deleted_once() -> None:
    owner = given.an_lws()
    held = {"deletionTimestamp": "2030-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}
    other = stored(revisions.build(owner, 2, "x"), **held)
    assert revisions.obsolete((revision_of(owner), other), "7bdcf6cbd6") == ()


def test_a_revision_that_a_statefulset_left_is_none_of_the_sets() -> None:
    # Of the workers of group 8, whose StatefulSet was deleted without its pods. By name and number
    # it comes after the set's own.
    owner = given.an_lws()
    ours = revision_of(owner)
    labels = {**ours.meta.labels, "controller.kubernetes.io/hash": "6c8f5"}
    meta = {"name": f"{given.NAME}-8-6c8f5", "uid": "left", "labels": labels}
    left = facts.Revision.of({"metadata": meta, "data": {"spec": {"template": {}}}, "revision": 1})
    assert revisions.own(owner, (ours, left)) == (ours,)
    choice = revisions.choose(owner, revisions=(ours, left), leader_key="7bdcf6cbd6")
    assert (choice.stored, choice.updated, choice.create) == (ours, False, None)
