"""Why something does not happen: what conditions, Warning events and explanations have in common.

Whoever finds a reason says what it is, what a person can do about it, which groups it is about,
and whether they wait for it. What a set's condition and its events say is made of that here and in
``actions.Plan.warnings``, and nowhere else.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import islice
from operator import or_

from lws_kueue.api import lws
from lws_kueue.api.indices import Indices

# How many different reasons one message holds; the objects themselves tell the rest.
MOST_TOLD = 5
# How many runs of group indices one of them names; the others are counted.
MOST_RUNS = 20
# How many characters of a text are told: what Kueue, a webhook or an API server says may be long.
MOST_SAID = 2048
# So many characters a condition's message may have (the definition of sets, and Kubernetes' own).
MOST_MESSAGE = 32 * 1024
_MORE = " [...]"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something does not happen.

    ``code`` is one word for programs, ``text`` a line for people that names the object, and ``fix``
    what they can change. ``groups`` are the indices of those that it is about, none for the set as
    a whole. ``waits`` says that these groups are held by it, ``warns`` that a person must act, so
    that it is told in a Warning event: to wait for quota is Kueue's daily business.

    ``about`` names the object and the field where the text quotes a value that may be another one
    at any moment, because others write it; "" where the text names all that it is about. Reasons
    of the same code that are about the same are one that is told again: with a pause.
    """

    code: str
    text: str
    fix: str = ""
    groups: Collection[int] = ()
    waits: bool = False
    warns: bool = True
    about: str = field(default="", compare=False)

    @property
    def message(self) -> str:
        """Text and fix as one line; a fix is a sentence of its own if it begins like one."""
        if not self.fix:
            return self.text
        return f"{self.text}{'.' if self.fix[0].isupper() else ':'} {self.fix}"

    @property
    def brief(self) -> "Reason":
        """The reason with a text and a fix that are not too long to be told."""
        return replace(self, text=shortened(self.text), fix=shortened(self.fix))

    def of(self, index: int) -> "Reason":
        """Return the reason as that of one group."""
        return replace(self, groups=(index,))

    def held(self) -> "Reason":
        """Return the reason as one for which its groups wait."""
        return replace(self, waits=True)


def merged(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Put reasons that say the same of several groups together, in the order of first groups."""
    by_cause: dict[tuple[str, str], list[Reason]] = {}
    for reason in sorted(reasons, key=lambda one: tuple(islice(one.groups, 1))):
        by_cause.setdefault((reason.code, reason.message), []).append(reason)
    return tuple(
        replace(
            same[0],
            groups=_together([one.groups for one in same]),
            warns=any(one.warns for one in same),
        )
        for same in by_cause.values()
    )


def _together(parts: Sequence[Collection[int]]) -> Collection[int]:
    """Return all groups of some; where they are given as runs they stay that."""
    if any(isinstance(part, Indices | range) for part in parts):
        return reduce(or_, map(Indices, parts))
    return tuple(sorted({index for part in parts for index in part}))


def by_cause(reasons: Mapping[int, Reason | None]) -> tuple[Reason, ...]:
    """Return the reasons of groups as ``merged`` does; None is no reason."""
    causes: dict[tuple[str, str], tuple[list[int], list[Reason]]] = {}
    for index in sorted(reasons):
        if (why := reasons[index]) is not None:
            groups, same = causes.setdefault((why.code, why.message), ([], []))
            groups.append(index)
            same.append(why)
    return tuple(
        replace(same[0], groups=tuple(groups), warns=any(one.warns for one in same))
        for groups, same in causes.values()
    )


def without(reason: Reason, groups: Collection[int]) -> Reason | None:
    """Return a reason for waiting without ``groups``, None if those were all that wait for it."""
    if not reason.waits or not reason.groups:
        return reason
    left: Collection[int]
    if isinstance(reason.groups, Indices | range):
        left = Indices(reason.groups) - groups
    else:
        left = tuple(index for index in reason.groups if index not in groups)
    return replace(reason, groups=left) if left else None


def condition(kind: str, reasons: Iterable[Reason]) -> lws.Condition | None:
    """Return the condition that tells what groups wait for, None if none waits."""
    waiting = [reason for reason in reasons if reason.waits]
    if not waiting:
        return None
    texts = [f"{numbered(reason.groups)}: {reason.brief.message}" for reason in waiting]
    return standing(kind, waiting[0].code, texts, more="more reasons")


def quoting(reasons: Iterable[Reason]) -> tuple[Reason, ...] | None:
    """Return ``reasons`` without the values that they quote, None if none quotes any."""
    reasons = tuple(reasons)
    if not any(reason.about for reason in reasons if reason.waits):
        return None
    return tuple(
        replace(reason, text=reason.about, fix="") if reason.about else reason for reason in reasons
    )


def standing(kind: str, code: str, texts: Sequence[str], *, more: str = "more") -> lws.Condition:
    """Return a condition that is True for several reasons, of which the first are told."""
    parts = list(texts[:MOST_TOLD])
    if len(texts) > MOST_TOLD:
        parts.append(f"and {len(texts) - MOST_TOLD} {more}")
    message = shortened("; ".join(parts), most=MOST_MESSAGE)
    return lws.Condition(type=kind, status="True", reason=code, message=message)


def shortened(text: str, *, most: int = MOST_SAID) -> str:
    """Return a text of at most so many characters, whose end says so if it was longer."""
    return text if len(text) <= most else text[: most - len(_MORE)] + _MORE


def some(names: Sequence[str], *, most: int) -> str:
    """Return "a, b and 3 more": at most so many names, and how many are left."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def numbered(indices: Collection[int]) -> str:
    """Return "group 3" or "groups 0, 2-4", of many runs the first and how many groups are left."""
    runs = Indices(indices).runs
    told = runs[:MOST_RUNS]
    parts = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in told)
    left = sum(len(run) for run in runs[MOST_RUNS:])
    more = f" and {left} more" if left else ""
    return f"{'group' if len(indices) == 1 else 'groups'} {parts}{more}"
