"""Why something does not happen: what conditions, Warning events and explanations have in common.

Whoever finds a reason says what it is, what a person can do about it, which groups it is about,
and whether they wait for it. What a set's condition and its events say is made of that here and in
``actions.Plan.warnings``, and nowhere else.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from lws_kueue.api import lws

# How many different reasons one message holds; the objects themselves tell the rest.
MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something does not happen.

    ``code`` is one word for programs, ``text`` a line for people that names the object, and ``fix``
    what they can change. ``groups`` are the indices of those that it is about, none for the set as
    a whole. ``waits`` says that these groups are held by it, ``warns`` that a person must act, so
    that it is told in a Warning event: to wait for quota is Kueue's daily business.
    """

    code: str
    text: str
    fix: str = ""
    groups: Sequence[int] = ()
    waits: bool = False
    warns: bool = True

    @property
    def message(self) -> str:
        """Text and fix as one line; a fix is a sentence of its own if it begins like one."""
        if not self.fix:
            return self.text
        return f"{self.text}{'.' if self.fix[0].isupper() else ':'} {self.fix}"

    def of(self, index: int) -> "Reason":
        """Return the reason as that of one group."""
        return replace(self, groups=(index,))

    def held(self) -> "Reason":
        """Return the reason as one for which its groups wait."""
        return replace(self, waits=True)


def merged(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Put reasons that say the same of several groups together, in the order of first groups."""
    by_cause: dict[tuple[str, str], list[Reason]] = {}
    for reason in sorted(reasons, key=lambda one: tuple(one.groups[:1])):
        by_cause.setdefault((reason.code, reason.message), []).append(reason)
    return tuple(
        replace(
            same[0],
            groups=tuple(sorted({index for one in same for index in one.groups})),
            warns=any(one.warns for one in same),
        )
        for same in by_cause.values()
    )


def condition(kind: str, reasons: Iterable[Reason]) -> lws.Condition | None:
    """Return the condition that tells what groups wait for, None if none waits."""
    waiting = [reason for reason in reasons if reason.waits]
    if not waiting:
        return None
    texts = [f"{numbered(reason.groups)}: {reason.message}" for reason in waiting]
    return standing(kind, waiting[0].code, texts, more="more reasons")


def standing(kind: str, code: str, texts: Sequence[str], *, more: str = "more") -> lws.Condition:
    """Return a condition that is True for several reasons, of which the first are told."""
    parts = list(texts[:MOST_TOLD])
    if len(texts) > MOST_TOLD:
        parts.append(f"and {len(texts) - MOST_TOLD} {more}")
    return lws.Condition(type=kind, status="True", reason=code, message="; ".join(parts))


def numbered(indices: Collection[int]) -> str:
    """Return "group 3" or "groups 0, 2-4"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1][1:] = [index]
        else:
            runs.append([index])
    parts = ["-".join(map(str, run)) for run in runs]
    return f"{'group' if len(indices) == 1 else 'groups'} {', '.join(parts)}"
