"""Whether a worker cluster has what dispatch needs of it, judged by what it was seen to serve."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lws_kueue.api import names


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What an identity may do in all namespaces of a cluster."""

    group: str
    resource: str
    verb: str

    @property
    def kind(self) -> str:
        """The resource as roles write it."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def _rights(group: str, resource: str, verbs: str) -> tuple[Right, ...]:
    return tuple(Right(group, resource, verb) for verb in verbs.split())


# Deleting is needed of what dispatch makes, and reading of what the makers of pods do.
RIGHTS: Final = (
    *_rights(names.KUEUE_GROUP, "workloads", "get list watch create patch delete"),
    *_rights(names.LWS_GROUP, names.LWS_PLURAL, "get list watch create patch delete"),
    *_rights("coordination.k8s.io", "leases", "get create patch delete"),
    *_rights("", "pods", "list"),
    *_rights("", "namespaces", "get"),
)


@dataclass(frozen=True, slots=True)
class Served:
    """What a cluster was seen to have.

    - ``kueue``: the versions of Kueue's API, none where it is not installed.
    - ``workloads``, ``sets``: whether these kinds are served in the versions that we speak.
    - ``denied``: which of `RIGHTS` the identity does not have.
    - ``uid``: of the namespace kube-system, which tells clusters apart; "" if it cannot be read.
    """

    kueue: tuple[str, ...]
    workloads: bool
    sets: bool
    denied: tuple[Right, ...]
    uid: str


def problems(served: Served, *, manager: str, others: Mapping[str, str]) -> tuple[str, ...]:
    """Return why groups cannot be dispatched to a cluster, nothing if they can.

    ``manager`` is what the manager is known by, as ``Served.uid``. ``others`` are clusters that
    were there before this one, by that.
    """
    if served.uid and served.uid == manager:
        # Whatever it lacks besides, nobody should add.
        return ("it is the manager's own cluster, which cannot be its own worker",)
    found: list[str] = []
    if served.uid in others and served.uid:
        found.append(f"it is the same cluster as {others[served.uid]}")
    if not served.kueue:
        found.append("Kueue is not installed: install Kueue (>= 0.15)")
    elif names.KUEUE_VERSION not in served.kueue:
        versions = ", ".join(served.kueue)
        found.append(
            f"Kueue serves {names.KUEUE_GROUP} {versions} and not {names.KUEUE_VERSION}: "
            "upgrade Kueue to 0.15 or later"
        )
    elif not served.workloads:
        found.append(f"Kueue serves no Workloads in {names.KUEUE_API_VERSION}")
    if not served.sets:
        found.append(f"{names.LWS_KIND}s are not served in {names.LWS_API_VERSION}: install them")
    if served.denied:
        found.append(f"its role lacks {lacking(served.denied)}")
    elif not served.uid:
        found.append("its namespace kube-system cannot be read, so that it cannot be told apart")
    return tuple(found)


def lacking(denied: tuple[Right, ...]) -> str:
    """Return rights as people write them: verbs, and of what."""
    verbs: dict[str, list[str]] = {}
    for right in denied:
        verbs.setdefault(right.kind, []).append(right.verb)
    return ", ".join(f"{'/'.join(which)} of {kind}" for kind, which in verbs.items())
