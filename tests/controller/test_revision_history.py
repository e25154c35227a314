"""Which revisions are kept to go back to, when no group is at them any more."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from lws_kueue.api import actions, facts, lws, names
from lws_kueue.controller.revision import history, revisions
from tests.controller.test_revisions import revision_of, stored, with_image
from tests.kit.builders import given

OWNER = with_image("app:9")
CREATED = "2029-12-31T00:00:00Z"


def revision(number: int, image: str = "", **meta: Any) -> facts.Revision:
    """A revision of the set with the image app:NUMBER, or another one."""
    body = revisions.build(with_image(image or f"app:{number}"), number)
    return stored(body, **{"uid": f"uid-{number}", "creationTimestamp": CREATED, **meta})


def kept(number: int, image: str = "", *, at: str = CREATED, **meta: Any) -> facts.Revision:
    """The copy of such a revision, made ``at`` a time."""
    body = history.copied(OWNER, revision(number, image))
    return stored(body, **{"uid": f"kept-{number}", "creationTimestamp": at, **meta})


def told(chain: actions.Chain) -> list[str]:
    """What a chain does, in its order."""
    return [
        f"create {one.body['metadata']['name']}"
        if isinstance(one, actions.Create)
        else f"delete {one.ref.name}"
        for one in chain
        if isinstance(one, actions.Create | actions.Delete)
    ]


def retired(
    gone: Sequence[facts.Revision],
    before: Sequence[facts.Revision] = (),
    *,
    limit: int = 3,
    current: facts.Revision | None = None,
    taken: Sequence[str] = (),
) -> list[str]:
    at = current or revision(9)
    return told(history.retired(OWNER, gone, current=at, kept=before, taken=taken, limit=limit))


def name(number: int, image: str = "") -> str:
    return revision(number, image).meta.name


def test_a_revision_that_goes_is_copied_before_it_is_deleted() -> None:
    assert retired([revision(1)]) == [f"create {name(1)}-kept", f"delete {name(1)}"]


def test_without_a_limit_all_that_is_not_in_use_is_deleted_as_ever() -> None:
    found = retired([revision(1), revision(2)], [kept(3)], limit=0)
    assert found == [f"delete {name(1)}", f"delete {name(2)}", f"delete {name(3)}-kept"]


def test_of_too_many_the_oldest_goes() -> None:
    before = [kept(number, at=f"2029-12-31T00:00:0{number}Z") for number in (1, 2, 3)]
    assert retired([revision(4)], before) == [
        f"create {name(4)}-kept",
        f"delete {name(4)}",
        f"delete {name(1)}-kept",
    ]


def test_what_was_in_use_longest_ago_goes_whatever_its_number() -> None:
    # An update to revision 2 was turned back half-way, so 2 was kept before 1 was.
    before = [kept(1, at="2029-12-31T00:00:02Z"), kept(2, at="2029-12-31T00:00:01Z")]
    assert retired([], before, limit=1) == [f"delete {name(2)}-kept"]


def test_nothing_is_written_while_nothing_goes_and_there_are_not_too_many() -> None:
    assert retired([], [kept(1), kept(2), kept(3)]) == []


def test_one_that_says_the_same_as_the_current_one_is_nothing_to_go_back_to() -> None:
    # The older duplicates that LWS's manager leaves behind, and the copy of one that came back.
    assert retired([revision(1, "app:9")]) == [f"delete {name(1, 'app:9')}"]
    assert retired([], [kept(1, "app:9")]) == [f"delete {name(1, 'app:9')}-kept"]


def test_of_two_that_say_the_same_the_last_one_in_use_is_kept() -> None:
    assert retired([revision(3, "app:1")], [kept(1)]) == [
        f"create {name(3, 'app:1')}-kept",
        f"delete {name(3, 'app:1')}",
        f"delete {name(1)}-kept",
    ]


def test_one_that_cannot_be_used_is_not_kept() -> None:
    broken = stored(revisions.build(OWNER, 1) | {"data": {"spec": 1}}, uid="uid-1")
    assert retired([broken]) == [f"delete {broken.meta.name}"]


def test_a_step_that_was_cut_off_is_finished_and_not_repeated() -> None:
    assert retired([revision(1)], [kept(1)]) == [f"delete {name(1)}"]


def test_a_copy_whose_original_is_not_to_be_kept_any_more_goes_with_it() -> None:
    found = retired([revision(1)], [kept(1)], limit=0)
    assert found == [f"delete {name(1)}", f"delete {name(1)}-kept"]


def test_a_revision_waits_while_somebody_else_has_the_name_of_its_copy() -> None:
    # Most often a former set of the name, whose copies are on their way out.
    assert retired([revision(1), revision(2)], taken=[f"{name(1)}-kept"]) == [
        f"create {name(2)}-kept",
        f"delete {name(2)}",
    ]


def test_a_copy_that_is_being_deleted_is_neither_counted_nor_deleted_again() -> None:
    going = kept(1, deletionTimestamp=CREATED, finalizers=["example.com/hold"])
    before = [going, kept(2), kept(3), kept(4)]
    assert retired([], before) == []


def test_a_copy_holds_what_its_original_holds_and_is_found_by_nothing_of_lwss() -> None:
    original = revision(2)
    copy = stored(history.copied(OWNER, original), creationTimestamp="2030-01-01T00:00:00Z")
    assert (copy.data, copy.number) == (original.data, original.number)
    assert revisions.content_hash(copy) == revisions.content_hash(original)
    assert copy.meta.annotations == {names.REVISION_CREATED: CREATED}
    assert copy.meta.controller == original.meta.controller
    # The watch looks for the key of this label, LWS for its value.
    assert copy.meta.labels[names.SET_NAME] == ""
    assert revisions.key_label(copy) == revisions.key_label(original)


def test_a_copy_is_no_revision_that_groups_are_made_of() -> None:
    copy, mine = kept(1), revision(9)
    assert revisions.own(OWNER, (copy, mine)) == (mine,)
    assert revisions.kept(OWNER, (copy, mine)) == (copy,)


def test_copies_of_a_former_set_of_the_name_are_none_of_this_ones() -> None:
    obj = given.lws_object()
    obj["metadata"]["uid"] = "another"
    copy = stored(history.copied(lws.LeaderWorkerSet.of(obj), revision(1)))
    assert revisions.kept(OWNER, (copy,)) == ()


def test_a_set_that_goes_back_to_a_kept_revision_gets_it_anew_with_a_number_of_its_own() -> None:
    # As LWS does, which has deleted the first one by then.
    back = with_image("app:1")
    copies, at = (kept(1), kept(4)), revision(2)
    choice = revisions.choose(
        back, revisions=(at,), leader_key=revisions.key_label(at), kept=copies
    )
    assert choice.create is not None
    assert choice.create.body["revision"] == 5
    assert choice.key == revisions.key_label(revision(1))


_NUMBERS = st.sets(st.integers(1, 8), max_size=6)


@drawn(going=_NUMBERS, copies=_NUMBERS, limit=st.integers(0, 4))
def test_carried_out_it_leaves_what_is_kept_and_nothing_to_do(
    going: set[int], copies: set[int], limit: int
) -> None:
    gone = [revision(number) for number in sorted(going)]
    before = [kept(number) for number in sorted(copies)]
    chain = history.retired(OWNER, gone, current=revision(9), kept=before, limit=limit)
    there = {one.meta.name: one for one in (*gone, *before)}
    for step in chain:
        if isinstance(step, actions.Create):
            copy = stored(dict(step.body), uid=str(step.body["metadata"]["name"]))
            assert copy.meta.name not in there
            there[copy.meta.name] = copy
        elif isinstance(step, actions.Delete):
            assert there.pop(step.ref.name).meta.uid == step.uid
        # Cut off at any point, nothing that is to stay is lost.
        held = {revisions.content_hash(one) for one in there.values()}
        assert len(held) >= min(limit, len(going | copies))
    assert len(there) == min(limit, len(going | copies))
    assert all(revisions.is_kept(one.meta) for one in there.values())
    again = history.retired(OWNER, (), current=revision(9), kept=list(there.values()), limit=limit)
    assert again == ()
    if limit >= len(going):
        assert {one.number for one in there.values()} >= going


@pytest.mark.parametrize("limit", [0, 3])
def test_a_set_at_rest_under_the_version_before_is_not_written_to(limit: int) -> None:
    assert retired([], [], limit=limit, current=revision_of(OWNER, 9)) == []
