"""Revisions that no group is at any more: which of them are kept to go back to, and how.

LWS deletes them when an update is done, and so does this. Before that, a copy is made of those that
are kept. It has the same data, number and key. But its name is another one, and the label by which
LWS, its tools and clients find revisions of a set is empty: they see what they have always seen,
and where LWS's manager goes on, it neither meets the name of a copy nor takes it for a revision of
one of its keys. That the label is there has the watch that tells of revisions tell of copies as
well. The set owns them, and they go with it.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

from lws_kueue.api import actions, facts, lws, names, owners
from lws_kueue.controller.revision import revisions

# So many are kept where the settings do not say otherwise.
DEFAULT_LIMIT: Final = 3

# Names of revisions end in their number.
_SUFFIX: Final = "-kept"


def copy_name(revision: facts.Revision) -> str:
    """Return the name of the copy of a revision."""
    return f"{revision.meta.name}{_SUFFIX}"


def copied(owner: lws.LeaderWorkerSet, revision: facts.Revision) -> dict[str, Any]:
    """Return the copy of a revision that is kept when it goes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": copy_name(revision),
            "namespace": owner.meta.namespace,
            "labels": {
                names.SET_NAME: "",
                names.REVISION_KEY: revisions.key_label(revision),
                names.KEPT_REVISION: "true",
            },
            "annotations": {names.REVISION_CREATED: revision.meta.created},
            "ownerReferences": [owners.of_set(owner)],
        },
        "data": revision.data,
        "revision": revision.number,
    }


def newest_first(
    own: Iterable[facts.Revision], kept: Iterable[facts.Revision]
) -> tuple[facts.Revision, ...]:
    """Return revisions in the order in which they have been in use, the last one first.

    ``own`` were in use until now, and ``kept`` until their copy was made. Numbers alone do not tell
    that: an update that is turned back half-way leaves a higher number behind.
    """
    return (
        *sorted(own, key=lambda one: (one.number, one.meta.name), reverse=True),
        *sorted(kept, key=lambda one: (one.meta.created, one.number), reverse=True),
    )


def retired(
    owner: lws.LeaderWorkerSet,
    gone: Iterable[facts.Revision],
    *,
    current: facts.Revision | None,
    kept: Iterable[facts.Revision],
    taken: Collection[str] = (),
    limit: int,
) -> actions.Chain:
    """Return the end of the revisions ``gone``, of which ``limit`` are kept with those before them.

    ``gone`` are in the order in which they go. What is ``kept`` already and is too many, or says
    the same as another one or as the ``current`` one, goes as well. Objects that are not the set's
    have the names ``taken``; a revision whose copy would have such a name waits.
    """
    going = tuple(gone)
    before = tuple(one for one in kept if not one.meta.deleting)
    copies = {copy_name(one) for one in going}
    # A copy that stands beside its original is half of a step that was cut off.
    older = [one for one in before if one.meta.name not in copies]
    stay = _staying(newest_first(going, older), current=current, limit=limit)
    wanted = {copy_name(one) for one in going if one.meta.uid in stay}
    there = {one.meta.name for one in before}
    writes: list[actions.Create | actions.Delete] = []
    for revision in going:
        name = copy_name(revision)
        if name in wanted and name in taken:
            continue
        if name in wanted - there:
            writes.append(actions.Create(copied(owner, revision), on_failure="FailedCreate"))
        writes.append(_deleted(revision))
    unwanted = (one for one in before if one.meta.name not in wanted and one.meta.uid not in stay)
    return (*writes, *map(_deleted, unwanted))


def _staying(
    candidates: Iterable[facts.Revision], *, current: facts.Revision | None, limit: int
) -> frozenset[str]:
    """Return the UIDs of those that stay; one that is broken is nothing to go back to."""
    contents = {revisions.content_hash(current) if current else None, None}
    stay: set[str] = set()
    for revision in candidates:
        content = revisions.content_hash(revision)
        if len(stay) < limit and content not in contents:
            contents.add(content)
            stay.add(revision.meta.uid)
    return frozenset(stay)


def _deleted(revision: facts.Revision) -> actions.Delete:
    meta = revision.meta
    ref = actions.Ref("apps/v1", "ControllerRevision", meta.namespace, meta.name)
    return actions.Delete(ref, meta.uid)
