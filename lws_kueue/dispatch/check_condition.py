"""What is said of an AdmissionCheck of ours: whether groups can be dispatched by it, and where.

Situations and reasons are those of Kueue's own check (`kueue.x-k8s.io/multikueue`): Kueue keeps a
ClusterQueue inactive while a check of it is not Active. The texts are ours; they tell of each
cluster what is wrong with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lws_kueue.api import names

TYPE: Final = "Active"
CONFIG_KIND: Final = "MultiKueueConfig"

# Twenty clusters of a check with a text each, and what is between them, are less than the 32 KiB
# that a condition can have.
_LONGEST: Final = 1024

_Reason = Literal["Active", "SomeActiveClusters", "NoUsableClusters", "BadConfig"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """What an AdmissionCheck refers to."""

    group: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster as far as it matters here.

    ``problem`` is why groups cannot be dispatched to it, "" if they can. ``note`` is what a person
    should know although they can.
    """

    problem: str = ""
    note: str = ""


UNKNOWN_CLUSTER: Final = ClusterFacts(problem="there is no such MultiKueueCluster")


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition `Active`."""

    status: Literal["True", "False"]
    reason: _Reason
    message: str


def condition(
    parameters: Parameters | None,
    *,
    configs: Mapping[str, Sequence[str]],
    clusters: Mapping[str, ClusterFacts],
    unread: str = "",
) -> Condition:
    """Return the condition of a check.

    ``configs`` are the names of the clusters of each MultiKueueConfig. Of ``clusters`` those are
    missing of which there is no MultiKueueCluster. ``unread`` says why nobody knows the configs,
    "" if they are known.
    """
    if problem := _bad(parameters, configs, unread):
        return Condition("False", "BadConfig", problem)
    assert parameters is not None
    found = {name: clusters.get(name, UNKNOWN_CLUSTER) for name in configs[parameters.name]}
    usable = [name for name, facts in found.items() if not facts.problem]
    told = _told(found)
    if not usable:
        what = "no cluster can be used"
        return Condition("False", "NoUsableClusters", _sentence(what, told))
    if len(usable) < len(found):
        what = f"usable: {', '.join(usable)}"
        return Condition("True", "SomeActiveClusters", _sentence(what, told))
    return Condition("True", "Active", _sentence("all clusters can be used", told))


def refers(parameters: Parameters) -> bool:
    """Whether parameters are of the kind that tells which clusters there are."""
    return (parameters.group, parameters.kind) == (names.KUEUE_GROUP, CONFIG_KIND)


def _bad(parameters: Parameters | None, configs: Mapping[str, Sequence[str]], unread: str) -> str:
    wanted = f"it has to name a {CONFIG_KIND} of {names.KUEUE_GROUP}"
    if parameters is None:
        return f"spec.parameters is missing: {wanted}"
    if parameters.group != names.KUEUE_GROUP:
        return f"spec.parameters.apiGroup is {parameters.group}: {wanted}"
    if parameters.kind != CONFIG_KIND:
        return f"spec.parameters.kind is {parameters.kind}: {wanted}"
    if unread:
        return f"{CONFIG_KIND} {parameters.name} cannot be read: {unread}"
    if parameters.name not in configs:
        return f"{CONFIG_KIND} {parameters.name} does not exist"
    if not configs[parameters.name]:
        return f"{CONFIG_KIND} {parameters.name} names no cluster"
    return ""


def _told(clusters: Mapping[str, ClusterFacts]) -> list[str]:
    texts = ((name, facts.problem or facts.note) for name, facts in clusters.items())
    return [f"{name}: {_short(text)}" for name, text in texts if text]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _sentence(what: str, told: Sequence[str]) -> str:
    return "; ".join((what, *told))
