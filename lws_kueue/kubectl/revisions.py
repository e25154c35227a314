"""The revisions of a set, for people: what each holds, what changed, and the way back to one.

Of those that are kept (`controller.revision.history`) and those that groups are at, all are shown
once, in the order in which they have been in use. What a revision holds is the leaderWorkerTemplate
and the networkConfig of a set, as LWS has it; nothing else of a set's spec is ever taken back.
"""

import asyncio
import datetime
import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from lws_kueue.api import facts, lws, names, tool_marks
from lws_kueue.controller.revision import history
from lws_kueue.controller.revision import revisions as contents
from lws_kueue.kubectl import connection, screen
from lws_kueue.runtime import keys, resources
from lws_kueue.workload import conditions

# Where the settings say how many are kept.
_SETTING: Final = "lwsKueue.revisionHistoryLimit"

# kubectl's own mark says that the set was applied once, not that somebody does it again.
_OF_KUBECTL: Final = "kubectl.kubernetes.io/last-applied-configuration"
# So many changes of a revision are told in a table.
_MOST_CHANGES: Final = 3
# What a change is told by that cannot be told in a word or two.
_LONGEST_VALUE: Final = 60


class State(Enum):
    """What becomes of a revision.

    The set is at the current one, or is updated to it; groups are at outdated ones still; others
    are only kept.
    """

    CURRENT = "current"
    UPDATING = "updating"
    OUTDATED = "outdated"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision; ``groups`` are at it, and ``changes`` is what it changed of the one before.

    Of one that cannot be read it is the reason. ``created`` is None where nobody knows, and what is
    wrong with it stands before the changes.
    """

    number: int
    key: str
    state: State
    groups: int
    created: datetime.datetime | None
    images: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of a set, the newest first; ``unseen`` says that the set is at none of them.

    So it is until the controller has seen a change of the set.
    """

    namespace: str
    name: str
    revisions: tuple[Revision, ...]
    unseen: bool


@dataclass(frozen=True)
class Found:
    """What was read of a set: its revisions in the order of their use, and groups by key."""

    owner: lws.LeaderWorkerSet
    stored: tuple[facts.Revision, ...]
    groups: Mapping[str, int]

    @property
    def now(self) -> Mapping[str, Any]:
        """What the set is, in the words of its revisions."""
        return _plain(contents.data_of(self.owner)["spec"])

    @property
    def current(self) -> facts.Revision | None:
        """The revision that the set asks for; None until the controller has made it."""
        wanted = contents.key_of(contents.data_of(self.owner))
        return next((one for one in self.stored if contents.content_hash(one) == wanted), None)


async def read(
    server: connection.Connection, key: keys.SetKey, owner: lws.LeaderWorkerSet
) -> Found:
    """Read the revisions of a set.

    Raises:
        asking.ApiError: they or the pods may not be read.
    """
    of_set = f"{names.SET_NAME}={key.name}"
    lists = await asyncio.gather(
        *(
            server.listed(resources.REVISIONS, namespace=key.namespace, label_selector=selector)
            for selector in (of_set, names.KEPT_REVISION)
        ),
        server.listed(
            resources.PODS,
            namespace=key.namespace,
            label_selector=f"{of_set},{names.WORKER_INDEX}=0",
        ),
    )
    own, kept, leaders = lists
    return found(owner, revisions=(*own, *kept), leaders=leaders)


def found(
    owner: lws.LeaderWorkerSet,
    *,
    revisions: Iterable[facts.Object],
    leaders: Iterable[facts.Object],
) -> Found:
    """Put together what was read of a set; of equal revisions the last one counts."""
    every = [facts.Revision.of(one) for one in revisions]
    at = Counter(facts.Meta.of(pod).labels.get(names.REVISION_KEY, "") for pod in leaders)
    wanted = contents.key_of(contents.data_of(owner))
    own = contents.own(owner, every)
    # The one that is asked for is in use from now on, whatever its number.
    first = [one for one in own if contents.content_hash(one) == wanted]
    others = [one for one in own if one not in first]
    ordered = history.newest_first(others, contents.kept(owner, every))
    by_content: dict[str, facts.Revision] = {}
    for one in (*history.newest_first(first, ()), *ordered):
        by_content.setdefault(contents.content_hash(one) or one.meta.uid, one)
    return Found(owner, tuple(by_content.values()), at)


def told(seen: Found) -> History:
    """Return the revisions of a set, each with what it changed."""
    return History(
        namespace=seen.owner.meta.namespace,
        name=seen.owner.meta.name,
        revisions=tuple(_told(seen, one) for one in seen.stored),
        unseen=seen.current is None,
    )


def _told(seen: Found, one: facts.Revision) -> Revision:
    key = contents.key_label(one)
    created, problem = _created(one)
    return Revision(
        number=one.number,
        key=key,
        state=_state(seen, one),
        groups=seen.groups.get(key, 0),
        created=created,
        images=tuple(dict.fromkeys(_images(holds(one)))),
        changes=(*problem, *_changed(seen, one)),
    )


def _created(one: facts.Revision) -> tuple[datetime.datetime | None, tuple[str, ...]]:
    """Return when a revision was made; what somebody has written instead of a time is told."""
    written = one.meta.annotations.get(names.REVISION_CREATED)
    try:
        found = conditions.moment(written or one.meta.created)
    except ValueError:
        found = None
    if found is not None and found.tzinfo is not None:
        return found, ()
    if not written:
        return None, ()
    return None, (
        f"ControllerRevision {one.meta.name}: its annotation {names.REVISION_CREATED} is no time:"
        f" {_short(written)!r}. Remove the annotation",
    )


def _changed(seen: Found, one: facts.Revision) -> Iterator[str]:
    """Yield what a revision changed, or why it cannot be read."""
    if (problem := contents.broken(one)) is not None:
        yield problem
    elif (older := _older(seen, one)) is not None:
        yield from changes(holds(older), holds(one))


def _older(seen: Found, one: facts.Revision) -> facts.Revision | None:
    """Return the one before a revision, of those that can be read; None if there is none."""
    before = seen.stored[seen.stored.index(one) + 1 :]
    return next((other for other in before if contents.broken(other) is None), None)


def _state(seen: Found, one: facts.Revision) -> State:
    groups = seen.groups.get(contents.key_label(one), 0)
    if one is seen.current:
        return State.UPDATING if sum(seen.groups.values()) > groups else State.CURRENT
    return State.OUTDATED if groups else State.KEPT


def holds(revision: facts.Revision) -> Mapping[str, Any]:
    """Return what a revision holds, {} if it is broken."""
    if contents.broken(revision) is not None:
        return {}
    return _plain(contents.data_of_spec(contents.spec_of(revision))["spec"])


def _plain(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a spec without the marks that they have in the data of a revision."""
    return {
        part: {key: value for key, value in of_part.items() if key != "$patch"}
        for part, of_part in spec.items()
    }


def _images(spec: Mapping[str, Any]) -> Iterator[str]:
    template = spec.get("leaderWorkerTemplate") or {}
    for part in ("leaderTemplate", "workerTemplate"):
        pod = (template.get(part) or {}).get("spec") or {}
        for kind in ("initContainers", "containers"):
            yield from (one["image"] for one in pod.get(kind) or () if one.get("image"))


# What changed ---------------------------------------------------------------------------------


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields in which two specs differ, each with both values where they are short."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for path in dict.fromkeys((*old, *new)):
        if path not in new:
            yield f"{path} removed"
        elif path not in old:
            yield f"{path} {_short(new[path])} added"
        elif old[path] != new[path]:
            yield f"{path} {_short(old[path])} -> {_short(new[path])}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what stands in a spec with its path; items of lists go by their names."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            name = inner.get("name") if isinstance(inner, Mapping) else None
            yield from _leaves(inner, f"{path}[{index if name is None else name}]")
    else:
        yield path, value


def diff(before: Mapping[str, Any], after: Mapping[str, Any], *, what: tuple[str, str]) -> str:
    """Return the difference of two specs as a unified diff of YAML; ``what`` names both."""
    import yaml  # Tables have no use for it.

    old, new = (
        yaml.safe_dump(dict(one), sort_keys=True, allow_unicode=True).splitlines()
        for one in (before, after)
    )
    return "\n".join(difflib.unified_diff(old, new, what[0], what[1], lineterm=""))


# The way back ---------------------------------------------------------------------------------


def chosen(seen: Found, asked: str | None) -> facts.Revision:
    """Return the revision that is asked for by number or key; without, the one in use before.

    Raises:
        LookupError: there is none, with what to do.
        ValueError: several have the number.
    """
    name = seen.owner.meta.name
    if asked is None:
        current = seen.current
        before = next((one for one in seen.stored if one is not current), None)
        if before is None:
            raise LookupError(
                f"{name} has no revision to go back to: only the one that it is at is there."
                f" Change the template itself. How many are kept after an update is the setting"
                f" {_SETTING} of the controller"
            )
        return before
    matching = [one for one in seen.stored if str(one.number) == asked]
    matching = matching or [one for one in seen.stored if contents.key_label(one) == asked]
    if not matching:
        there = ", ".join(str(one.number) for one in seen.stored) or "none"
        raise LookupError(
            f"{name} has no revision {asked}; there is: {there}. kubectl lws rollout history {name}"
            " shows them"
        )
    if len(matching) > 1:
        by_key = " or ".join(contents.key_label(one) for one in matching)
        raise ValueError(f"{name} has several revisions {asked}: name one by its key, {by_key}")
    return matching[0]


def undone(seen: Found, target: facts.Revision) -> dict[str, Any]:
    """Return the change of a set by which it holds what a revision holds; nothing if it does.

    Raises:
        ValueError: the set is paused, or the revision is broken.
    """
    name = seen.owner.meta.name
    if names.PAUSED in seen.owner.meta.annotations:
        raise ValueError(f"{name} is paused: kubectl lws rollout resume {name} goes before")
    if contents.same(seen.owner, target):
        return {}
    if (problem := contents.broken(target)) is not None:
        raise ValueError(
            f"{problem}. Name another one by --to-revision: kubectl lws rollout history {name}"
            " shows them"
        )
    # Older serialisers have written null for what is absent.
    wanted = _without_nulls(contents.spec_of(target))
    stored = {part: seen.owner.stored_spec.get(part) or {} for part in wanted}
    return {"spec": merge_patch(stored, wanted)}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7396) that makes one object of the other.

    ``after`` holds no null, which such a patch cannot set.
    """
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := merge_patch(old, value):
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch


def tools(owner: lws.LeaderWorkerSet) -> tuple[str, ...]:
    """Return the marks of tools that apply a set again from somewhere else."""
    marks = (*owner.meta.labels, *owner.meta.annotations)
    return tuple(sorted({one for one in marks if tool_marks.is_one(one) and one != _OF_KUBECTL}))


# The screens ----------------------------------------------------------------------------------


def blocks(shown: History, *, wide: bool, now: datetime.datetime) -> list[screen.Block]:
    """Return the screen of the revisions of a set."""
    head = ("REVISION", "KEY", "STATE", "GROUPS", "AGE", "IMAGES", "CHANGED")
    rows = tuple(
        (
            str(one.number),
            one.key,
            one.state.value,
            str(one.groups),
            screen.age(one.created, now),
            ", ".join(one.images),
            _listed(one.changes, wide=wide),
        )
        for one in shown.revisions
    )
    found: list[screen.Block] = [screen.Table(head, rows)]
    if shown.unseen:
        found += [
            screen.Line(""),
            screen.Line(f"The controller has not seen the last change of {shown.name} yet."),
        ]
    return found


def _listed(found: tuple[str, ...], *, wide: bool) -> str:
    inner = [one.removeprefix("leaderWorkerTemplate.") for one in found]
    return "; ".join(inner) if wide else screen.some(inner, most=_MOST_CHANGES)


def detail(seen: Found, one: facts.Revision, *, now: datetime.datetime) -> list[screen.Block]:
    """Return the screen of one revision: what going back to it would change.

    Of the one that the set is at, it is what that changed.
    """
    shown = told(seen).revisions[seen.stored.index(one)]
    facts_ = screen.Facts(
        (
            ("Revision", f"{shown.number}"),
            ("Key", shown.key),
            ("State", shown.state.value),
            ("Groups", str(shown.groups)),
            ("Age", screen.age(shown.created, now)),
            ("Images", ", ".join(shown.images)),
        )
    )
    return [facts_, screen.Line(""), *_lines(compared(seen, one))]


def compared(seen: Found, one: facts.Revision) -> str:
    """Return the diff of a set to a revision; of the one that it is at, to the one before."""
    name, label = seen.owner.meta.name, f"revision {one.number}"
    if (problem := contents.broken(one)) is not None:
        return problem
    if one is not seen.current:
        return diff(seen.now, holds(one), what=(f"{name} now", label))
    older = _older(seen, one)
    if older is None:
        return f"{name} is at {label}, and there is no other one to compare it with."
    return diff(
        holds(older), holds(one), what=(f"revision {older.number}", f"{label} ({name} now)")
    )


def _lines(text: str) -> Iterator[screen.Line]:
    styles = {"+": "green", "-": "red", "@": "cyan"}
    yield from (screen.Line(line, styles.get(line[:1], "")) for line in text.splitlines())
