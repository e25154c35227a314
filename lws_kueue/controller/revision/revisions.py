"""ControllerRevisions: what a set's groups consist of, under keys that clients can compute.

A revision holds the leaderWorkerTemplate and the networkConfig of a set. Its data are spelled to
the byte as upstream spells them (lws-contract 3.5 and 2.4), because the key, a hash of them, is a
label that clients select pods by. Two of upstream's defects are not repeated (lws-contract 8.3 and
8.4): a revision that exists is used again instead of being made a second time.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic

from lws_kueue.api import actions, derived, facts, lws, names, owners
from lws_kueue.controller.revision import normalise

_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619
# The alphabet of Kubernetes' safe strings: no vowels, so no bad words.
_SAFE = "bcdfghjklmnpqrstvwxz2456789"
_NAME_PREFIX = 220
# The StatefulSet controller labels every revision that it makes with a hash.
_OF_STATEFUL_SETS = "controller.kubernetes.io/hash"
_REPLACE = {"$patch": "replace"}
_HTML = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in ("<", ">", "&", "\u2028", "\u2029")}
)


class BrokenRevision(ValueError):
    """A ControllerRevision whose data are not those of a LeaderWorkerSet."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The revision that a set is at: its key, and what has to be created for it, if anything.

    ``updated`` says that the set has left the revision of its leader StatefulSet just now;
    ``stored`` is the revision if it exists already.
    """

    key: str
    updated: bool
    stored: facts.Revision | None = None
    create: actions.Create | None = None


def data_of(owner: lws.LeaderWorkerSet) -> dict[str, Any]:
    """Return the revision data of a set as it is stored."""
    return data_of_spec(owner.stored_spec)


def data_of_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the revision data of the ``spec`` of a set."""
    written = normalise.normalise(spec, "RevisionSpec")
    network = written.get("networkConfig") or {"subdomainPolicy": "Shared"}
    return {
        "spec": {
            "leaderWorkerTemplate": written["leaderWorkerTemplate"] | _REPLACE,
            "networkConfig": network | _REPLACE,
        }
    }


def encode(data: Mapping[str, Any]) -> bytes:
    """Return the bytes of revision data: compact, keys sorted, HTML characters escaped."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # None of these characters can stand outside of a JSON string.
    return text.translate(_HTML).encode()


def key_of(data: Mapping[str, Any]) -> str:
    """Return the revision key: the safe spelling of the FNV-1 hash of the data."""
    value = _FNV_OFFSET
    for byte in encode(data):
        value = (value * _FNV_PRIME) % 2**32 ^ byte
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(value))


def build(owner: lws.LeaderWorkerSet, number: int, key: str | None = None) -> dict[str, Any]:
    """Return the ControllerRevision of a set as it is now.

    ``key`` is given where an existing leader StatefulSet already carries one; the name always
    tells the hash of the content.
    """
    data = data_of(owner)
    own_hash = key_of(data)
    meta = owner.meta
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{meta.name[:_NAME_PREFIX]}-{own_hash}-{number}",
            "namespace": meta.namespace,
            "labels": {names.SET_NAME: meta.name, names.REVISION_KEY: key or own_hash},
            "ownerReferences": [owners.of_set(owner)],
        },
        "data": data,
        "revision": number,
    }


def own(
    owner: lws.LeaderWorkerSet, revisions: Iterable[facts.Revision]
) -> tuple[facts.Revision, ...]:
    """Return the revisions of a set: those that it controls, and labelled ones that nobody does.

    The StatefulSet controller's revisions of the set's StatefulSets carry the same labels, and
    nobody controls them for a moment when a StatefulSet is deleted without its pods.
    """
    return tuple(revision for revision in revisions if is_own(owner, revision.meta))


def is_own(owner: lws.LeaderWorkerSet, meta: facts.Meta) -> bool:
    """Whether a revision is a set's; that follows from the set's name and UID.

    One that is only kept (`is_kept`) is none that groups can be made of.
    """
    if is_kept(meta):
        return False
    if meta.controller is None:
        labelled = meta.labels.get(names.SET_NAME) == owner.meta.name
        return labelled and _OF_STATEFUL_SETS not in meta.labels
    return meta.controller.uid == owner.meta.uid


def is_kept(meta: facts.Meta) -> bool:
    """Whether a revision is kept for `kubectl lws rollout undo`, and not in use.

    LWS looks for revisions by the name of their set, and those have none there.
    """
    return names.KEPT_REVISION in meta.labels and meta.labels.get(names.SET_NAME) == ""


def kept(
    owner: lws.LeaderWorkerSet, revisions: Iterable[facts.Revision]
) -> tuple[facts.Revision, ...]:
    """Return the revisions of a set that are kept and not in use."""
    return tuple(revision for revision in revisions if is_kept_of(owner, revision.meta))


def is_kept_of(owner: lws.LeaderWorkerSet, meta: facts.Meta) -> bool:
    """Whether a revision is kept for this very set."""
    holder = meta.controller
    return is_kept(meta) and holder is not None and holder.uid == owner.meta.uid


def key_of_set(leader_set: facts.StatefulSet | None, mine: Iterable[facts.Revision]) -> str | None:
    """Return the key that the leader StatefulSet is at, "" if it has none, None if there is none.

    It stands on the StatefulSet and in its pod template. Where somebody has edited one of them the
    one counts that has a revision; of two such, the one that the pods are made with.
    """
    if leader_set is None:
        return None
    written = (leader_set.template_labels, leader_set.meta.labels)
    keys = [key for labels in written if (key := labels.get(names.REVISION_KEY))]
    stored = {key_label(revision) for revision in mine}
    return next((key for key in keys if key in stored), keys[0] if keys else "")


def key_label(revision: facts.Revision) -> str:
    """Return the key that a revision is stored under."""
    return revision.meta.labels.get(names.REVISION_KEY, "")


def hash_in_name(name: str) -> str:
    """Return the hash of the content that a revision's name tells."""
    return name.rsplit("-", 2)[1] if name.count("-") > 1 else ""


def find(revisions: Iterable[facts.Revision], key: str) -> facts.Revision | None:
    """Return the revision stored under ``key``; of several the one with the highest number."""
    if not key:
        return None
    return highest(revision for revision in revisions if key_label(revision) == key)


def highest(revisions: Iterable[facts.Revision]) -> facts.Revision | None:
    """Return the revision with the highest number."""
    return max(revisions, key=lambda revision: (revision.number, revision.meta.name), default=None)


def same(owner: lws.LeaderWorkerSet, revision: facts.Revision) -> bool:
    """Whether a revision holds what the set is now.

    Older serialisers wrote the same content in other words (``creationTimestamp: null``), so the
    stored data are written again in today's before they count as different.
    """
    wanted = data_of(owner)
    if revision.data == wanted:
        return True
    try:
        return _written_again(revision) == encode(wanted)
    except BrokenRevision:
        return False


def _written_again(revision: facts.Revision) -> bytes:
    """Return the content of a revision in the words of today."""
    return encode(data_of_spec(_content(revision)))


@derived.once
def content_hash(revision: facts.Revision) -> str | None:
    """Return the key that the content of a revision has in today's words; None if it is broken."""
    if broken(revision) is not None:
        return None
    return key_of(data_of_spec(_content(revision)))


def spec_of(revision: facts.Revision) -> Mapping[str, Any]:
    """Return the leaderWorkerTemplate and the networkConfig that a revision holds.

    Raises:
        BrokenRevision: the revision does not hold the content of a set.
    """
    _restored(revision)
    return _content(revision)


def restore(owner: lws.LeaderWorkerSet, revision: facts.Revision) -> lws.LeaderWorkerSet:
    """Return the set with the content of a revision, everything else as it is now.

    Raises:
        BrokenRevision: the revision does not hold the content of a set.
    """
    content = _content(revision)
    restored = _restored(revision)
    spec = owner.spec.model_copy(
        update={
            "leader_worker_template": restored.leader_worker_template,
            "network_config": restored.network_config,
        }
    )
    return owner.model_copy(update={"spec": spec, "stored_spec": {**owner.stored_spec, **content}})


@derived.once
def _restored(revision: facts.Revision) -> lws.Spec:
    try:
        return lws.Spec.model_validate(_content(revision))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _broken(revision, f"data.spec.{where}: {first['msg']}") from error


@derived.once
def broken(revision: facts.Revision) -> str | None:
    """Return why a revision does not hold the content of a set, None if it does."""
    try:
        _restored(revision)
    except BrokenRevision as error:
        return str(error)
    return None


@derived.once
def _content(revision: facts.Revision) -> dict[str, Any]:
    """Return the parts of a spec that a revision holds, without the marks of the patch."""
    spec = revision.data.get("spec") if isinstance(revision.data, Mapping) else None
    parts = ("leaderWorkerTemplate", "networkConfig")
    if not isinstance(spec, Mapping) or not all(isinstance(spec.get(p), Mapping) for p in parts):
        raise _broken(revision, "data.spec must hold leaderWorkerTemplate and networkConfig")
    if (where := normalise.mistyped(spec, "RevisionSpec", at="data.spec")) is not None:
        raise _broken(revision, f"{where} is of a wrong type")
    return {part: {k: v for k, v in spec[part].items() if k != "$patch"} for part in parts}


def _broken(revision: facts.Revision, why: str) -> BrokenRevision:
    return BrokenRevision(f"ControllerRevision {revision.meta.name} cannot be used: {why}")


def differ(revisions: Iterable[facts.Revision]) -> bool:
    """Whether revisions that have the same key hold different things."""
    contents = set()
    for revision in revisions:
        try:
            contents.add(_written_again(revision))
        except BrokenRevision:
            contents.add(revision.meta.uid.encode())
    return len(contents) > 1


def choose(
    owner: lws.LeaderWorkerSet,
    *,
    revisions: Iterable[facts.Revision],
    leader_key: str | None,
    taken: Collection[str] = (),
    kept: Iterable[facts.Revision] = (),
) -> Choice:
    """Decide which revision a set is at, of ``revisions``; others have the names ``taken``.

    Those that are ``kept`` are not used again, and no other one gets a number that they have.

    ``leader_key`` is the key on the leader StatefulSet, "" if it carries none, and None if there
    is no leader StatefulSet.
    """
    every = tuple(revisions)
    mine = own(owner, every)
    taken = {*taken, *(revision.meta.name for revision in every)}
    last = highest((*mine, *kept))
    number = last.number + 1 if last else 1
    stored = find(mine, leader_key or "")
    if stored is not None and same(owner, stored):
        return Choice(key=key_label(stored), updated=False, stored=stored)
    if stored is None and leader_key:
        message = "Creating missing revision with key {} for existing LeaderWorkerSet"
        return _create(owner, number, taken=taken, key=leader_key, updated=False, message=message)
    again = _reusable(owner, mine)
    if again is not None:
        return Choice(key=key_label(again), updated=stored is not None, stored=again)
    message = "Creating revision with key {} for " + (
        "updated LWS" if stored is not None else "a newly created LeaderWorkerSet"
    )
    return _create(
        owner, number, taken=taken, key=None, updated=stored is not None, message=message
    )


def _reusable(
    owner: lws.LeaderWorkerSet, mine: tuple[facts.Revision, ...]
) -> facts.Revision | None:
    """Return a revision with the set's content that a lookup by its key would find."""
    keys = {key_label(revision) for revision in mine}
    found = (find(mine, key) for key in keys)
    return highest(revision for revision in found if revision and same(owner, revision))


def _create(
    owner: lws.LeaderWorkerSet,
    number: int,
    *,
    taken: Collection[str],
    key: str | None,
    updated: bool,
    message: str,
) -> Choice:
    # A former set of the same name may have left a revision that still waits for its deletion.
    while (body := build(owner, number, key))["metadata"]["name"] in taken:
        number += 1
    key = body["metadata"]["labels"][names.REVISION_KEY]
    event = actions.Event("Normal", "CreatingRevision", message.format(key))
    create = actions.Create(body, events=(event,), on_failure="FailedCreate")
    return Choice(key=key, updated=updated, create=create)


def obsolete(revisions: Iterable[facts.Revision], key: str) -> tuple[facts.Revision, ...]:
    """Return what may be deleted once every group is at ``key``, the oldest first.

    ``revisions`` are a set's own. Beside those with another key, older duplicates under the same
    key are obsolete: no lookup finds them. One that is being deleted already waits for somebody
    else's finalizer, and asking again would only make the next pass come at once.
    """
    every = tuple(revisions)
    kept = find(every, key)
    going = (one for one in every if one is not kept and not one.meta.deleting)
    return tuple(sorted(going, key=lambda one: (one.number, one.meta.name)))
