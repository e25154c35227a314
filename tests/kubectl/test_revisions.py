"""The revisions of a set as they are shown, and what going back to one writes."""

from typing import Any

import pytest
from click import testing
from hypothesis import given as drawn
from hypothesis import strategies as st

from lws_kueue.api import facts, lws, names
from lws_kueue.controller.revision import history
from lws_kueue.controller.revision import revisions as contents
from lws_kueue.kubectl import command, revisions, screen
from tests.kit.builders import given
from tests.kubectl.test_rollout import merged

Object = dict[str, Any]


def a_set(image: str, **options: Any) -> Object:
    template = {
        "metadata": {},
        "spec": {"containers": [given.CONTAINER | {"image": image}]},
    }
    return given.lws_object(template={"workerTemplate": template}, **options)


def in_use(image: str, number: int) -> Object:
    body = contents.build(lws.LeaderWorkerSet.of(a_set(image)), number)
    body["metadata"] |= {"creationTimestamp": f"2029-12-0{number}T00:00:00Z", "uid": f"u{number}"}
    return body


def kept(image: str, number: int, *, day: int = 9) -> Object:
    original = facts.Revision.of(in_use(image, number))
    body = history.copied(lws.LeaderWorkerSet.of(a_set(image)), original)
    body["metadata"] |= {"creationTimestamp": f"2029-12-1{day}T00:00:00Z", "uid": f"k{number}"}
    return body


def leader(key: str) -> Object:
    return {"metadata": {"name": "x", "uid": "x", "labels": {names.REVISION_KEY: key}}}


def found(live: Object, *stored: Object, groups: tuple[Object, ...] = ()) -> revisions.Found:
    leaders = [leader(one["metadata"]["labels"][names.REVISION_KEY]) for one in groups]
    return revisions.found(lws.LeaderWorkerSet.of(live), revisions=stored, leaders=leaders)


def shown(seen: revisions.Found) -> list[tuple[int, str, int]]:
    return [(one.number, one.state.value, one.groups) for one in revisions.told(seen).revisions]


def test_after_an_update_the_ones_before_are_kept() -> None:
    at = in_use("app:3", 3)
    seen = found(
        a_set("app:3"), at, kept("app:1", 1, day=1), kept("app:2", 2, day=2), groups=(at, at)
    )
    assert shown(seen) == [(3, "current", 2), (2, "kept", 0), (1, "kept", 0)]
    assert [one.changes for one in revisions.told(seen).revisions] == [
        ("leaderWorkerTemplate.workerTemplate.spec.containers[worker].image app:2 -> app:3",),
        ("leaderWorkerTemplate.workerTemplate.spec.containers[worker].image app:1 -> app:2",),
        (),
    ]
    assert revisions.told(seen).revisions[0].images[-1] == "app:3"


def test_in_the_middle_of_an_update_groups_are_at_both() -> None:
    old, new = in_use("app:1", 1), in_use("app:2", 2)
    seen = found(a_set("app:2"), old, new, groups=(old, old, new))
    assert shown(seen) == [(2, "updating", 1), (1, "outdated", 2)]
    assert revisions.chosen(seen, None).number == 1


def test_an_update_that_is_turned_back_half_way_is_what_was_in_use_before() -> None:
    # Revision 1 is used again, and that of the update has a higher number.
    old, new = in_use("app:1", 1), in_use("app:2", 2)
    seen = found(a_set("app:1"), old, new, groups=(old, new))
    assert shown(seen) == [(1, "updating", 1), (2, "outdated", 1)]
    assert revisions.chosen(seen, None).number == 2


def test_a_kept_one_that_came_back_is_shown_once() -> None:
    at = in_use("app:1", 3)
    seen = found(a_set("app:1"), at, kept("app:2", 2), kept("app:1", 1), groups=(at,))
    assert shown(seen) == [(3, "current", 1), (2, "kept", 0)]


def test_a_change_that_the_controller_has_not_seen_is_none_of_the_revisions() -> None:
    at = in_use("app:1", 1)
    seen = found(a_set("app:2"), at, groups=(at,))
    assert revisions.told(seen).unseen
    assert revisions.chosen(seen, None).number == 1


def test_revisions_of_stateful_sets_and_of_former_sets_are_left_out() -> None:
    at, former, other = in_use("app:1", 1), kept("app:2", 2), in_use("app:3", 3)
    former["metadata"]["ownerReferences"][0]["uid"] = "former"
    other["metadata"]["ownerReferences"][0] |= {"kind": "StatefulSet", "uid": "sts"}
    assert shown(found(a_set("app:1"), at, former, other)) == [(1, "current", 0)]


def test_a_revision_is_named_by_its_number_or_its_key() -> None:
    seen = found(a_set("app:2"), in_use("app:2", 2), kept("app:1", 1))
    one = revisions.chosen(seen, "1")
    assert one.number == 1
    assert revisions.chosen(seen, contents.key_label(one)) is one


@pytest.mark.parametrize(
    ("asked", "stored", "text"),
    [
        (None, [in_use("app:2", 2)], "no revision to go back to"),
        (None, [], "no revision to go back to"),
        ("7", [in_use("app:2", 2), kept("app:1", 1)], "no revision 7; there is: 2, 1"),
        # LWS's manager does not see those that are kept, and counts from its own.
        (
            "2",
            [in_use("app:2", 2), kept("app:1", 2)],
            "several revisions 2: name one by its key",
        ),
    ],
)
def test_what_cannot_be_gone_back_to_is_said_with_what_there_is(
    asked: str | None, stored: list[Object], text: str
) -> None:
    with pytest.raises((LookupError, ValueError), match=text):
        revisions.chosen(found(a_set("app:2"), *stored), asked)


def test_a_paused_set_is_not_taken_back() -> None:
    seen = found(
        a_set("app:2", annotations={names.PAUSED: "0"}), in_use("app:2", 2), kept("app:1", 1)
    )
    with pytest.raises(ValueError, match="rollout resume test-sample goes before"):
        revisions.undone(seen, revisions.chosen(seen, "1"))


def test_going_back_to_where_the_set_is_writes_nothing() -> None:
    seen = found(a_set("app:2"), in_use("app:2", 2), kept("app:1", 1))
    assert revisions.undone(seen, revisions.chosen(seen, "2")) == {}


def test_a_revision_that_cannot_be_used_is_named() -> None:
    broken = in_use("app:1", 1) | {"data": {"spec": {}}}
    seen = found(a_set("app:2"), in_use("app:2", 2), broken)
    with pytest.raises(ValueError, match=r"cannot be used: data\.spec must hold.*--to-revision"):
        revisions.undone(seen, revisions.chosen(seen, "1"))
    told = revisions.compared(seen, revisions.chosen(seen, "1"))
    assert "cannot be used" in told
    assert "app:2" not in told, "it is no difference to nothing"


def test_the_one_after_a_broken_revision_is_compared_to_the_one_before_it() -> None:
    broken = in_use("app:2", 2) | {"data": {"spec": {}}}
    at = in_use("app:3", 3)
    seen = found(a_set("app:3"), at, broken, in_use("app:1", 1), groups=(at,))
    newest, unread, _ = (one.changes for one in revisions.told(seen).revisions)
    assert newest == (
        "leaderWorkerTemplate.workerTemplate.spec.containers[worker].image app:1 -> app:3",
    )
    (why,) = unread
    assert "data.spec must hold" in why
    assert "-app:1" in revisions.compared(seen, seen.stored[0]).replace(" ", "").replace(
        "image:", ""
    )


@pytest.mark.parametrize("written", ["yesterday", "2029-12-01", "2029-12-01T00:00:00", "5" * 99])
def test_a_kept_revision_with_a_broken_time_is_named_and_all_are_shown(written: str) -> None:
    at, odd = in_use("app:3", 3), kept("app:2", 2, day=2)
    odd["metadata"]["annotations"][names.REVISION_CREATED] = written
    seen = found(a_set("app:3"), at, odd, kept("app:1", 1, day=1), groups=(at,))
    _, told, last = revisions.told(seen).revisions
    assert told.created is None
    problem, change = told.changes
    assert problem.startswith(
        f"ControllerRevision {odd['metadata']['name']}: its annotation {names.REVISION_CREATED} is"
        f" no time: '{written[:40]}"
    )
    assert change.endswith("app:1 -> app:2")
    assert last.created is not None
    now = last.created
    shown = screen.text(revisions.blocks(revisions.told(seen), wide=True, now=now))
    assert [line.split()[0] for line in shown.splitlines()] == ["REVISION", "3", "2", "1"]
    assert odd["metadata"]["name"] in shown
    assert "Revision   2" in screen.text(revisions.detail(seen, seen.stored[1], now=now))


def test_a_kept_revision_with_a_broken_time_can_be_gone_back_to() -> None:
    odd = kept("app:1", 1)
    odd["metadata"]["annotations"][names.REVISION_CREATED] = "yesterday"
    seen = found(a_set("app:2"), in_use("app:2", 2), odd)
    assert revisions.undone(seen, revisions.chosen(seen, None))


def test_nulls_of_an_older_serialiser_are_not_written() -> None:
    old = in_use("app:1", 1)
    pod = old["data"]["spec"]["leaderWorkerTemplate"]["workerTemplate"]
    pod["metadata"] = {"creationTimestamp": None}
    pod["spec"]["containers"][0]["resources"] = None
    seen = found(a_set("app:2"), in_use("app:2", 2), old)
    body = revisions.undone(seen, revisions.chosen(seen, "1"))
    (container,) = body["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"]["containers"]
    assert container["image"] == "app:1"
    assert None not in container.values()


def test_what_is_written_gives_the_set_the_key_of_the_revision_and_leaves_all_else() -> None:
    live = a_set("app:2", replicas=5, rollout={"partition": 2}, labels={"a": "b"})
    spec = live["spec"]["leaderWorkerTemplate"]
    spec["workerTemplate"]["metadata"] = {"labels": {"new": "label"}}
    spec["size"] = 7
    seen = found(live, in_use("app:2", 2), kept("app:1", 1))
    target = revisions.chosen(seen, "1")
    after = merged(live, revisions.undone(seen, target))
    assert contents.key_of(contents.data_of_spec(after["spec"])) == contents.content_hash(target)
    taken_back = ("leaderWorkerTemplate", "networkConfig")
    for one in (live, after):
        one["spec"] = {key: own for key, own in one["spec"].items() if key not in taken_back}
    assert after == live


_JSON = st.recursive(
    st.integers(0, 3) | st.sampled_from(["a", "b"]) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.sampled_from("xyz"), _JSON, max_size=3)


@drawn(before=_OBJECTS, after=_OBJECTS)
def test_a_patch_makes_one_object_of_the_other(before: Object, after: Object) -> None:
    patch = revisions.merge_patch(before, after)
    assert merged(before, patch) == after
    assert bool(patch) == (before != after)


@drawn(before=_OBJECTS, after=_OBJECTS)
def test_changes_are_told_if_there_are_any(before: Object, after: Object) -> None:
    assert bool([*revisions.changes(before, after)]) == (before != after)


def test_tools_that_apply_a_set_from_elsewhere_are_named_and_kubectl_is_none() -> None:
    live = a_set(
        "app:1",
        annotations={
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "argocd.argoproj.io/tracking-id": "x",
        },
        labels={"app.kubernetes.io/name": "x"},
    )
    assert revisions.tools(lws.LeaderWorkerSet.of(live)) == ("argocd.argoproj.io/tracking-id",)


def test_a_diff_names_both_sides() -> None:
    seen = found(a_set("app:2"), in_use("app:2", 2), kept("app:1", 1))
    current, old = revisions.chosen(seen, "2"), revisions.chosen(seen, "1")
    text = revisions.compared(seen, old)
    assert text.splitlines()[:2] == ["--- test-sample now", "+++ revision 1"]
    assert "-      - image: app:2" in text
    assert "+      - image: app:1" in text
    assert "+      - image: app:2" in revisions.compared(seen, current)
    alone = found(a_set("app:2"), in_use("app:2", 2))
    assert "no other one to compare" in revisions.compared(alone, alone.stored[0])


def test_help_tells_of_history_and_undo() -> None:
    result = testing.CliRunner().invoke(command.main, ["rollout", "--help"])
    assert {"history", "undo"} <= {line.split()[0] for line in result.output.splitlines() if line}
