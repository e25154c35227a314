"""Writes that are repeated because somebody undoes them: a pause that grows, and a Warning.

A repair is a write that has been made before: the same content, for the same object, while nobody
changes the set. Whatever causes it (another controller that owns the field as well, a
person with an editor, an admission webhook, pods that end once they are released), repeating it
at once may go on for ever, several times a second, at everybody's cost. So the pause between two
equal writes grows from none to five minutes, as that of a container that fails does. The set says
so in a condition, and a Warning names the other writer.

New content is no repetition and waits for nothing: a change of the set, a rollout that goes on,
another admission, another leader. Nor is content a repetition that was written before and is wanted
again while what was written last still stands (a label of the set that goes back and forth): nobody
has undone anything. A deletion that stops what runs without admission does not wait either: there
what waits is the next pod, for the name of the one that was stopped (``kept_for``).
Pods may come and go for other reasons than a rival: their pauses grow more slowly, and one that has
been there for a minute before it went is released as if for the first time. A status tells
what is and may well go back and forth, so it is repeated only if it is the last one again and
something else stands there by now.

The time is a parameter, and what is remembered is a value of the caller's. A restart forgets it,
but for one thing: where the condition stands, the first repetition already has the longest pause.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from lws_kueue.api import actions, apply_diff, lws, names, reasons
from lws_kueue.api.reasons import Reason
from lws_kueue.controller import rivals

# Seconds between equal writes: before the first repetition, the second and so on, then LONGEST.
PAUSES: Final = (0.0, 1.0, 3.0, 8.0, 20.0)
LONGEST: Final = 300.0
# Pods and groups of pods fail for many reasons, and people delete them.
PAUSES_OF_PODS: Final = (*PAUSES, 45.0, 90.0, 180.0)
# Seconds after which a pod that goes has not gone because of what was written to it.
STOOD: Final = 60.0
# Seconds without a write after which the next one counts as the first.
FORGOTTEN: Final = 600.0
# Seconds after which a repair holds. What is undone meanwhile is repeated when the longest pause is
# over, and what is stopped is made again only then, and undone a moment later.
HOLDS: Final = LONGEST + 60.0

# Within so many seconds what was refused has been tried again, if it is still wanted.
RETRIED: Final = 120.0
_PORT: Final = re.compile(r":\d+->")

# From so many repetitions on it is told: fewer may be a coincidence.
TOLD: Final = 3
TOLD_OF_PODS: Final = 5

# The condition that stands while a pause is the longest.
BACK_OFF: Final = "RepairBackOff"

# How many contents of one object are told apart; a write of another one is the first again.
_MOST_CONTENTS: Final = 32

# What says when or which, and not what.
_VOLATILE: Final = frozenset({"lastTransitionTime", "observedGeneration", "resourceVersion"})

# The keys of labels and annotations of a set that ask for something begin with one of these.
_ASKING: Final = (names.LWS_PREFIX, names.KUEUE_PREFIX, names.PROVISIONING_REQUEST_PREFIX)

Write = actions.Create | actions.Apply | actions.Patch | actions.Delete | actions.StatusWrite


def pause_after(repetitions: int, pauses: Sequence[float] = PAUSES) -> float:
    """Return for how many seconds the next one waits after so many repetitions."""
    return pauses[repetitions] if repetitions < len(pauses) else LONGEST


@dataclass(slots=True)
class _Record:
    """What was written to one object, and how often again.

    ``before`` are the repetitions that an earlier process has told of, ``status`` is the last one
    that was written, ``undone`` when that was first found to be gone. ``writer`` is who undoes it,
    "" if nobody can tell, None while nobody has looked, and ``looked`` whether that was after the
    last write. ``applied`` is the last apply, also one that made the object; ``changed`` is what
    the API server made of it, ``taken`` why this controller has deleted itself what it makes.
    """

    pauses: tuple[float, ...]
    contents: deque[bytes]
    before: int
    at: datetime
    status: Mapping[str, Any] | None = None
    repetitions: int = 0
    undone: datetime | None = None
    writer: str | None = None
    looked: bool = False
    applied: actions.Apply | None = None
    changed: str = ""
    taken: str = ""
    occasion: str = ""

    @property
    def pause(self) -> float:
        """Seconds between the last write and the next equal one."""
        return pause_after(self.before + self.repetitions, self.pauses)

    @property
    def told(self) -> bool:
        """Whether it was repeated too often for a coincidence."""
        least = TOLD if self.pauses == PAUSES else TOLD_OF_PODS
        return self.repetitions > 0 and self.before + self.repetitions >= least

    def backs_off(self, now: datetime) -> bool:
        """Whether the pause is the longest, and the last repair does not hold yet."""
        holds = (now - self.at).total_seconds() > HOLDS
        return self.repetitions > 0 and self.pause == LONGEST and not holds

    def repeats(self, write: Write, digests: Sequence[bytes]) -> bool:
        """Whether a write, or a field of it, has been made before and is not there any more."""
        known = any(digest in self.contents for digest in digests)
        if isinstance(write, actions.Apply):
            return known and not self.moves_on(write)
        if isinstance(write, actions.StatusWrite) and self.status is not None:
            return known and write.replaces != self.status
        return known

    def moves_on(self, apply: actions.Apply) -> bool:
        """Whether something else is applied while what was applied last stands as it was applied.

        Nobody has undone anything then, whatever was wanted in between.
        """
        last, live = self.applied, apply.replaces
        if last is None or live is None or last.body == apply.body:
            return False
        return apply_diff.covers(live, last.body, manager=last.field_manager)

    def is_old(self, now: datetime) -> bool:
        """Whether the next write counts as the first."""
        return (now - self.at).total_seconds() > FORGOTTEN


@dataclass(frozen=True, slots=True)
class Refusal:
    """That the API server refuses a write: from when to when it did, and what it said last."""

    since: datetime
    last: datetime
    message: str


@dataclass(slots=True)
class Attempts:
    """The writes that were made for one set in the last minutes.

    ``weary_since`` is of a set that was in back-off already when it was seen first, then: for a
    while, whatever is repeated for it has been repeated before.
    """

    weary_since: datetime | None = None
    _epoch: int = 0
    _owner: tuple[object, ...] = ()
    _records: dict[actions.WriteKey, _Record] = field(default_factory=dict)
    _refusals: dict[actions.WriteKey, Refusal] = field(default_factory=dict)

    @classmethod
    def of(cls, owner: lws.LeaderWorkerSet | None, *, now: datetime) -> "Attempts":
        """Begin to remember, for a set as it is when it is seen first."""
        stands = owner is not None and any(
            c.type == BACK_OFF and c.status == "True" for c in owner.status.conditions
        )
        return cls(weary_since=now if stands else None)

    def occasion(self, owner: lws.LeaderWorkerSet | None) -> str:
        """Return what makes a write of the same content another one: each change of the set.

        What a label or an annotation of LWS, of Kueue or of ours asks for may go back and forth as
        well, so those are counted. Others ask for nothing, and some tools touch theirs for ever.
        """
        now = (
            (
                owner.meta.uid,
                owner.meta.generation,
                _asking(owner.meta.labels),
                _asking(owner.meta.annotations),
            )
            if owner
            else ()
        )
        if now != self._owner:
            self._owner = now
            self._epoch += 1
        return str(self._epoch)

    def weary(self, now: datetime) -> bool:
        """Whether an earlier process left this set in back-off a moment ago."""
        return self._began_weary(now, within=FORGOTTEN)

    def still_told(self, now: datetime) -> bool:
        """Whether what an earlier process told of a back-off may still be so."""
        return self._began_weary(now, within=HOLDS)

    def _began_weary(self, now: datetime, *, within: float) -> bool:
        since = self.weary_since
        return since is not None and (now - since).total_seconds() <= within

    def wait(self, write: Write, *, occasion: str, now: datetime) -> float:
        """Return in how many seconds a write may be made; 0 is now.

        ``occasion`` is that of the set.
        """
        key = actions.key_of(write)
        record = self._record(key, now)
        if record is None or not record.repeats(write, _digests(write, occasion)):
            return 0.0
        record.undone = record.undone or now
        if rivals.is_pod(key) and (record.undone - record.at).total_seconds() >= STOOD:
            del self._records[key]
            return 0.0
        # A clock that was set back must not make a pause longer than it is.
        passed = max(0.0, (now - record.at).total_seconds())
        return max(0.0, record.pause - passed)

    def made(self, write: Write, *, occasion: str, now: datetime) -> bool:
        """Note that a write has succeeded; returns whether it was a repetition."""
        self._prune(now)
        key, digests = actions.key_of(write), _digests(write, occasion)
        self._refusals.pop(key, None)
        if isinstance(write, actions.Delete):
            self._took(write)
            if write.stops and not rivals.is_pod(key):
                return False
        if isinstance(write, actions.Apply) and self._moved_on(write, key, digests, now):
            return False
        # Those that were written last stand last, so that the first are the first to be forgotten.
        record = self._records.pop(key, None)
        if record is None:
            contents: deque[bytes] = deque(maxlen=1 if key.reports else _MOST_CONTENTS)
            if rivals.is_pod(key) and key.verb != "stop":
                record = _Record(PAUSES_OF_PODS, contents, 0, now)
            else:
                record = _Record(PAUSES, contents, len(PAUSES) if self.weary(now) else 0, now)
        self._records[key] = record
        record.at, record.undone, record.occasion = now, None, occasion
        record.changed, record.looked = "", False
        repeated = record.repeats(write, digests)
        if repeated:
            record.repetitions += 1
        record.contents.extend(one for one in digests if one not in record.contents)
        if isinstance(write, actions.StatusWrite):
            record.status = write.status
        if isinstance(write, actions.Apply):
            self._stands_now(write, key)
        return repeated

    def _moved_on(
        self, apply: actions.Apply, key: actions.WriteKey, digests: Sequence[bytes], now: datetime
    ) -> bool:
        """Note an apply before which nobody has undone the one before; whether it is one.

        It is no move in a fight, so the time of the last one stays: neither does it make the next
        pause longer, nor does the condition of one that is over stand for as long as the set is
        changed.
        """
        record = self._record(key, now)
        if record is None or not record.moves_on(apply):
            return False
        record.contents.extend(one for one in digests if one not in record.contents)
        self._stands_now(apply, key)
        return True

    def _stands_now(self, apply: actions.Apply, key: actions.WriteKey) -> None:
        """Note what the object is by now for all who write it: who makes it, and who changes it."""
        if key.reports:
            return
        for verb in ("create", "apply"):
            if (record := self._records.get(replace(key, verb=verb))) is not None:
                record.applied = apply

    def _took(self, deletion: actions.Delete) -> None:
        """Note why this controller has deleted what it makes, so that nobody else is blamed."""
        record = self._records.get(actions.WriteKey(deletion.ref, "create"))
        if record is not None:
            why = "; ".join(event.message for event in deletion.events)
            record.taken = why or record.taken or "nothing needs it for the moment"

    def repeats(self, stop: actions.Delete, *, occasion: str, now: datetime) -> bool:
        """Whether a pod of that name has been stopped before, on the same occasion."""
        record = self._record(actions.key_of(stop), now)
        return record is not None and record.repeats(stop, _digests(stop, occasion))

    def kept_for(self, pod: actions.Ref, asked: datetime, *, occasion: str, now: datetime) -> float:
        """Return for how many seconds the name of a pod that was stopped stays taken.

        ``asked`` is when its deletion was asked for: of what an earlier process stopped the name is
        kept for as long as can be. Where the set has changed since, it is kept no longer.
        """
        record, at, pause = self._record(actions.WriteKey(pod, "stop"), now), asked, LONGEST
        if record is not None:
            if record.occasion != occasion:
                return 0.0
            at, pause = record.at, record.pause
        return max(0.0, pause - max(0.0, (now - at).total_seconds()))

    def changed(self, write: Write, what: str) -> None:
        """Note what the API server has made of an apply that has just succeeded."""
        if (record := self._records.get(actions.key_of(write))) is not None:
            record.changed = what

    def refused(self, write: Write, message: str, *, now: datetime) -> bool:
        """Note that the API server has refused a write, and what it said; whether that is new."""
        key = actions.key_of(write)
        before = self._refusals.get(key)
        # The port from which a webhook was asked is another one each time.
        said = _PORT.sub("->", message)
        self._refusals[key] = Refusal(before.since if before else now, now, said)
        return before is None or before.message != said

    def refusal(self, key: actions.WriteKey) -> Refusal | None:
        """Return what the API server has said to a write, if it refused the last one."""
        return self._refusals.get(key)

    @property
    def refuses(self) -> bool:
        """Whether anything was refused."""
        return bool(self._refusals)

    def wants(self, wanted: Collection[actions.WriteKey], *, now: datetime) -> None:
        """Forget after a while what was said to writes that are ``wanted`` no longer."""
        self._refusals = {
            key: one
            for key, one in self._refusals.items()
            if key in wanted or (now - one.last).total_seconds() <= RETRIED
        }

    def unnamed(self, held: Iterable[actions.WriteKey]) -> list[actions.WriteKey]:
        """Return those of the ``held`` writes of which it is to be found out who undoes them."""
        return [
            key
            for key in held
            if rivals.has_writer(key)
            and (record := self._records.get(key)) is not None
            and record.told
            and not record.changed
            # What was read at a bad moment tells of nobody; the next time it may.
            and not (record.writer or record.looked)
        ]

    def named(self, key: actions.WriteKey, writer: str) -> None:
        """Note who undoes a write; "" if nobody can tell."""
        if (record := self._records.get(key)) is not None:
            record.writer, record.looked = writer, True

    def causes(self, now: datetime) -> Iterator[tuple[bool, str]]:
        """Say of what is repeated too often what it is; the first is whether it backs off."""
        stopped: dict[str, bool] = {}
        for key, record in self._records.items():
            named = record.writer is not None or record.changed or not rivals.has_writer(key)
            if not (record.told and named) or record.is_old(now):
                continue
            if key.verb == "stop":
                # Who takes gates away takes those of many pods; they are told as one.
                stopped[key.ref.name] = record.backs_off(now)
                continue
            known = rivals.Known(record.writer or "", record.changed, record.taken)
            yield record.backs_off(now), rivals.cause(key, known, longest=LONGEST)
        if stopped:
            yield any(stopped.values()), rivals.ungated(stopped, longest=LONGEST)

    def silenced(self, now: datetime) -> bool:
        """Whether somebody undoes the set's status, so that nothing can be told in it."""
        return any(
            record.backs_off(now) and key.ref.kind == names.LWS_KIND
            for key, record in self._records.items()
        )

    def over_in(self, now: datetime) -> float | None:
        """Return in how many seconds the last back-off is over, None without one."""
        ends = [
            record.at + timedelta(seconds=HOLDS)
            for record in self._records.values()
            if record.backs_off(now)
        ]
        if self.weary_since is not None and self.still_told(now):
            ends.append(self.weary_since + timedelta(seconds=HOLDS))
        # What holds is older than that, not as old.
        return (max(ends) - now).total_seconds() + 1 if ends else None

    def _record(self, key: actions.WriteKey, now: datetime) -> _Record | None:
        record = self._records.get(key)
        return None if record is None or record.is_old(now) else record

    def _prune(self, now: datetime) -> None:
        while self._records and (first := next(iter(self._records))):
            if not self._records[first].is_old(now):
                return
            del self._records[first]


def hold(plan: actions.Plan, attempts: Attempts, *, occasion: str, now: datetime) -> actions.Plan:
    """Return ``plan`` without the writes whose pause is not over, and with what is to be told.

    A write that is left out takes with it what rests on it: the rest of its chain, and everything
    that carries the key of a revision that cannot be kept.
    """
    sieve = _Sieve(attempts, occasion, now)
    prepare = sieve.chain(plan.prepare)
    kept = (sieve.chain(chain) for chain in plan.chains)
    if prepare != plan.prepare:
        kept = (actions.without_pods(chain) for chain in kept)
    chains = tuple(chain for chain in kept if chain)
    status = plan.status if plan.status and sieve.passes(plan.status) else None
    return replace(
        plan,
        prepare=prepare,
        chains=chains,
        status=status,
        finish=sieve.chain(plan.finish) if prepare == plan.prepare else (),
        reasons=(*plan.reasons, *(Reason(BACK_OFF, text) for _, text in attempts.causes(now))),
        recheck_after=actions.soonest((plan.recheck_after, *sieve.waits, attempts.over_in(now))),
        held=tuple(sieve.held),
    )


def condition(
    owner: lws.LeaderWorkerSet, attempts: Attempts, *, now: datetime
) -> lws.Condition | None:
    """Return the condition of a set for which writes are repeated with the longest pause."""
    texts = [text for backs_off, text in attempts.causes(now) if backs_off]
    if (attempts.still_told(now) and not texts) or attempts.silenced(now):
        return next((c for c in owner.status.conditions if c.type == BACK_OFF), None)
    if not texts:
        return None
    return reasons.standing(BACK_OFF, "WritesUndone", texts)


class _Sieve:
    """Lets through what may be written now, and counts what may not."""

    def __init__(self, attempts: Attempts, occasion: str, now: datetime) -> None:
        self._attempts = attempts
        self._occasion = occasion
        self._now = now
        self.waits: list[float] = []
        self.held: list[actions.WriteKey] = []

    def passes(self, write: Write) -> bool:
        wait = self._attempts.wait(write, occasion=self._occasion, now=self._now)
        if wait > 0:
            self.waits.append(wait)
            self.held.append(actions.key_of(write))
        return wait <= 0

    def _stop(self, stop: actions.Delete) -> actions.Delete:
        """Let a deletion through; the first of a name costs no other write."""
        if not stop.keeping_name:
            return stop
        if self._attempts.repeats(stop, occasion=self._occasion, now=self._now):
            return stop
        return replace(stop, keeping_name="")

    def chain(self, chain: actions.Chain) -> actions.Chain:
        kept: list[actions.Action] = []
        for action in chain:
            if isinstance(action, actions.Delete) and action.stops:
                kept.append(self._stop(action))
            elif isinstance(action, actions.Release):
                patches = tuple(patch for patch in action.patches if self.passes(patch))
                if not patches:
                    break
                whole = len(patches) == len(action.patches)
                kept.append(action if whole else replace(action, patches=patches, events=()))
            elif not self.passes(action):
                break
            else:
                kept.append(action)
        return tuple(kept)


def _asking(values: Mapping[str, str]) -> dict[str, str]:
    """Return the labels or annotations that ask for something."""
    return {key: value for key, value in values.items() if key.startswith(_ASKING)}


def _digests(write: Write, occasion: str) -> list[bytes]:
    """Return what tells a write from another one to the same object.

    A patch has only what is not there, so each of its fields stands for itself: two rivals, or one
    who takes away more and more, do not make it another one. A pod is released as a whole.
    """
    match write:
        case actions.Patch(ref=ref, body=body, subresource="") if ref.kind != "Pod":
            parts: list[Any] = [
                (outer, inner, value)
                for outer, fields in body.items()
                for inner, value in (
                    fields.items() if isinstance(fields, Mapping) else [("", fields)]
                )
            ]
            return [_digest(part, write.because, occasion) for part in parts]
        case actions.StatusWrite(status=status):
            return [_digest({"status": status}, "", occasion)]
        case actions.Create(body=body):
            return [_digest(body, "", occasion)]
        case actions.Delete():
            return [_digest(None, write.because, occasion)]
        case _:
            return [_digest(write.body, write.because, occasion)]


def _digest(content: Any, because: str, occasion: str) -> bytes:
    text = json.dumps([_lasting(content), because, occasion], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).digest()[:16]


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lasting(inner) for key, inner in value.items() if key not in _VOLATILE}
    return [_lasting(inner) for inner in value] if isinstance(value, list | tuple) else value
