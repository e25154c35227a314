"""What a decision asks for: a plan of guarded writes, in the order they may happen.

A plan is a value. Two equal observations give equal plans, so tests compare them, and the runtime
executes them without knowing why. Every write names its guard: a create relies on the
deterministic name, a patch carries the resourceVersion it was decided on, a deletion the UID.

``because`` is the occasion of a write, where its content does not tell: the same content for
another occasion is no repetition (``controller.repairs``). ``on_failure`` is the reason that is
told where the API server refuses the write, "" for that of its kind (``controller.refusals``).
"""

import enum
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from lws_kueue.api import apply_diff, facts
from lws_kueue.api.reasons import Reason

# The verb of what is never put off.
_STOP: Final = "stop"


@dataclass(frozen=True, slots=True)
class Ref:
    """Which object: ``api_version``/``kind`` and its name.

    ``cluster`` is the MultiKueueCluster that it is in, "" for the cluster of the controller itself.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class WriteKey:
    """What a write does to which object: its verb, with the subresource behind a slash."""

    ref: Ref
    verb: str

    @property
    def reports(self) -> bool:
        """Whether the write tells what is, and not what shall be: it goes to the status."""
        return self.verb.endswith("/status")


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes event on the LeaderWorkerSet; ``about`` is as in ``Reason``."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    about: str = field(default="", compare=False)

    @property
    def subject(self) -> tuple[str, str]:
        """What the event is about, whatever values it quotes."""
        return self.reason, self.about or self.message


@dataclass(frozen=True, slots=True)
class Expect:
    """What has to be true of another object right before a write, read then and not from a cache.

    ``uid`` "" means that there is no such object. ``resource_version`` "" is for any version.
    ``true`` and ``false`` are conditions that have to have that status; one that is missing is
    False.
    """

    ref: Ref
    uid: str = ""
    resource_version: str = ""
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """Create an object in a ``cluster``; one of that name that exists already is left as it is."""

    body: Mapping[str, Any]
    events: tuple[Event, ...] = ()
    on_failure: str = ""
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply under ``field_manager``; ``subresource`` is "" or "status".

    ``resource_version`` "" means unguarded: right only where all fields applied are our own.
    ``force`` is False where the object is believed not to exist: an object of that name which
    somebody else made then gives a conflict instead of being taken over. ``expects`` is what has to
    be true of other objects: where it is not, the chain ends, and the next pass decides afresh.
    ``cluster`` is that of the object, "" for the controller's own. ``replaces`` is the object as it
    was decided on, None where there is none or it is not compared; it is no part of what is asked
    for.
    """

    body: Mapping[str, Any]
    field_manager: str
    subresource: str = ""
    resource_version: str = ""
    force: bool = True
    events: tuple[Event, ...] = ()
    on_failure: str = ""
    because: str = ""
    expects: tuple[Expect, ...] = ()
    cluster: str = ""
    replaces: apply_diff.Applied | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Patch:
    """JSON merge patch, refused by the server when the object has moved on."""

    ref: Ref
    body: Mapping[str, Any]
    resource_version: str
    subresource: str = ""
    events: tuple[Event, ...] = ()
    because: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly the object with ``uid``.

    ``grace_seconds`` is None for the object's own; 0 removes a pod that nobody ends any more.
    ``stops`` says that it ends a pod which runs without admission, or takes quota from a group that
    cannot use it: that is never put off. ``keeping_name`` is a finalizer that the object gets
    first, so that its name stays taken afterwards, "" for none; only a repetition needs it
    (``controller.repairs``), and the deletion follows whatever becomes of it.
    """

    ref: Ref
    uid: str
    propagation: Literal["Background", "Foreground"] = "Background"
    grace_seconds: int | None = None
    events: tuple[Event, ...] = ()
    because: str = ""
    stops: bool = False
    keeping_name: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """Patches that let a group's pods run, valid only for ``workload`` as it was decided on.

    The runtime reads the Workload again (not from a cache) right before the first patch and drops
    the whole release when its UID or resourceVersion differ; the next pass decides afresh.
    ``events`` tell where the pods went, once they have been released.
    """

    workload: Ref
    uid: str
    resource_version: str
    patches: tuple[Patch, ...]
    events: tuple[Event, ...] = ()


Action = Create | Apply | Patch | Delete | Release
Chain = tuple[Action, ...]


class Urgency(enum.IntEnum):
    """What goes before what where not all can be written at once, of one set and of all of them.

    What must not run stops before anything else. What is admitted has waited for longest, and holds
    quota that it does not use. Then Kueue gets to decide, or gets quota back, while everything else
    is made. A status only tells of it.
    """

    STOP = 0
    RELEASE = 1
    WORKLOAD = 2
    OBJECT = 3
    STATUS = 4


def urgency(action: Action) -> Urgency:
    """Return how urgent an action is."""
    if isinstance(action, Release):
        return Urgency.RELEASE
    key = key_of(action)
    if key.verb == _STOP:
        return Urgency.STOP
    if key.ref.kind == "Workload":
        return Urgency.WORKLOAD
    return Urgency.STATUS if key.reports else Urgency.OBJECT


def cluster_of(action: Action) -> str:
    """Return the cluster that an action writes to, "" for the controller's own."""
    match action:
        case Create(cluster=cluster) | Apply(cluster=cluster):
            return cluster
        case Patch(ref=ref) | Delete(ref=ref):
            return ref.cluster
    return ""


def in_order(chains: Iterable[Chain]) -> tuple[Chain, ...]:
    """Return chains in the order in which they are begun: by what comes first in each."""
    return tuple(sorted(filter(None, chains), key=lambda chain: urgency(chain[0])))


@dataclass(frozen=True, slots=True)
class StatusWrite:
    """The new status of the set; the events are sent only after the write succeeded.

    ``replaces`` is the status that stands there, as far as it is known. ``settled`` says that the
    set is where it shall be, so that no more news is to be expected, and ``urgent`` that somebody
    waits for it, so that it is not held back to save writes. ``gist`` is what of it is ours,
    without the values that its texts quote, None where they quote none: of the same gist only those
    are news.
    """

    ref: Ref
    status: Mapping[str, Any]
    resource_version: str
    replaces: Mapping[str, Any] | None = None
    settled: bool = False
    urgent: bool = False
    events: tuple[Event, ...] = ()
    gist: Mapping[str, Any] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Part:
    """What one look at a set, at a group or at a Workload asks for; parts add up to a plan.

    ``reasons`` say why something does not happen. ``stopping`` are the groups whose pods the part
    stops, and which are nobody else's therefore. ``recheck_after`` is in how many seconds something
    may follow without any event. ``faults`` are errors in deciding it: the rest is what is safe
    without that decision. Everything else is as in ``Plan``.
    """

    prepare: Chain = ()
    chains: tuple[Chain, ...] = ()
    status: StatusWrite | None = None
    finish: Chain = ()
    reasons: tuple[Reason, ...] = ()
    stopping: frozenset[int] = frozenset()
    recheck_after: float | None = None
    faults: tuple[Exception, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether the part asks for nothing and says nothing."""
        if self is _NOTHING:
            return True
        writes = self.prepare or self.chains or self.status or self.finish
        says = self.reasons or self.stopping or self.recheck_after is not None or self.faults
        return not (writes or says)

    def __add__(self, other: "Part") -> "Part":
        return joined((self, other))

    def in_a_row(self) -> "Part":
        """Return the same with all writes as one chain: each needs what the one before made."""
        row = tuple(write for chain in self.chains for write in chain)
        return replace(self, chains=(row,) if row else ())


_NOTHING: Final = Part()


def unless_nothing(part: Part) -> Part | None:
    """Return a part that asks for something, None for one that does not."""
    return None if part.nothing else part


def joined(parts: Iterable[Part]) -> Part:
    """Return the sum of parts, their writes in the order of the parts."""
    parts = tuple(part for part in parts if not part.nothing)
    if not parts:
        return _NOTHING
    return Part(
        prepare=tuple(write for part in parts for write in part.prepare),
        chains=tuple(chain for part in parts for chain in part.chains if chain),
        status=next((part.status for part in parts if part.status is not None), None),
        finish=tuple(write for part in parts for write in part.finish),
        reasons=tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
        stopping=frozenset(index for part in parts for index in part.stopping),
        recheck_after=soonest(part.recheck_after for part in parts),
        faults=tuple(fault for part in parts for fault in part.faults),
    )


def each_alone(writes: Iterable[Action | None]) -> tuple[Chain, ...]:
    """Return writes as chains of their own, so that none that fails stops another."""
    return tuple((write,) for write in writes if write is not None)


def soonest(delays: Iterable[float | None]) -> float | None:
    """Return the shortest delay in seconds, None if there is none."""
    return min((delay for delay in delays if delay is not None), default=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one pass over a set wants to do.

    ``prepare`` runs in order and before any StatefulSet is made or changed; after a failure there
    none is, and all else goes on. Each chain of ``chains`` runs in order, the chains beside each
    other, the most urgent first (``urgency``), and a failing chain never stops another. ``status``
    follows, then ``finish``. ``reasons`` say why something does not happen, and to which groups.
    ``recheck_after`` is in seconds. ``held`` are writes that the plan leaves out because they were
    repeated too often, ``faults`` errors in deciding parts of it.
    """

    prepare: Chain = ()
    chains: tuple[Chain, ...] = ()
    status: StatusWrite | None = None
    finish: Chain = ()
    reasons: tuple[Reason, ...] = ()
    recheck_after: float | None = None
    held: tuple[WriteKey, ...] = ()
    faults: tuple[Exception, ...] = ()

    @classmethod
    def of(cls, *parts: Part) -> "Plan":
        """Return the plan of parts, whose order is that of the writes."""
        whole = joined(parts)
        return cls(
            prepare=whole.prepare,
            chains=whole.chains,
            status=whole.status,
            finish=whole.finish,
            reasons=whole.reasons,
            recheck_after=whole.recheck_after,
            faults=whole.faults,
        )

    @property
    def warnings(self) -> tuple[Event, ...]:
        """The Warning events that tell people; each is sent once for as long as it lasts."""
        told = (
            Event("Warning", one.code, one.message, one.about) for one in self.reasons if one.warns
        )
        return tuple(dict.fromkeys(told))

    @property
    def empty(self) -> bool:
        """Whether the plan writes nothing."""
        return not (self.prepare or any(self.chains) or self.status or self.finish)


def without_pods(chain: Chain) -> Chain:
    """Return a chain up to the first write that has pods made, which need their revision."""
    return tuple(itertools.takewhile(lambda action: not makes_pods(action), chain))


def makes_pods(action: Action) -> bool:
    """Whether an action has pods made."""
    return isinstance(action, Create | Apply) and action.body["kind"] == "StatefulSet"


def key_of(write: Create | Apply | Patch | Delete | StatusWrite) -> WriteKey:
    """Return what a write does to which object; a status is written by a patch.

    An apply that finds nothing makes the object. What stops is never put off, so it is a verb of
    its own.
    """
    match write:
        case Create(body=body, cluster=cluster):
            return WriteKey(ref_of(body, cluster), "create")
        case Apply(body=body, force=False, cluster=cluster):
            return WriteKey(ref_of(body, cluster), "create")
        case Apply(body=body, subresource=subresource, cluster=cluster):
            return WriteKey(ref_of(body, cluster), _verb("apply", subresource))
        case Patch(ref=ref, subresource=subresource):
            return WriteKey(ref, _verb("patch", subresource))
        case Delete(ref=ref, stops=stops):
            return WriteKey(ref, _STOP if stops else "delete")
        case StatusWrite(ref=ref):
            return WriteKey(ref, _verb("patch", "status"))


def _verb(verb: str, subresource: str) -> str:
    return f"{verb}/{subresource}" if subresource else verb


def ref_of(obj: facts.Object, cluster: str = "") -> Ref:
    """Return the reference of an object in JSON form, in a cluster."""
    meta = obj["metadata"]
    return Ref(obj["apiVersion"], obj["kind"], meta.get("namespace", ""), meta["name"], cluster)
