"""Whether an apply would change anything: a write that changes nothing is not sent.

Server-side apply changes an object in two cases: a field that is applied has another value, or a
field that its manager applied earlier is no longer applied and therefore removed. The first is
seen by comparing with the live object, which has more fields than were applied (defaults, other
managers); the second only in ``managedFields``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from lws_kueue.api import facts, names, quantity

# Lists that server-side apply merges by key, with the key fields' defaults. All others are
# replaced as a whole.
_LIST_KEYS: dict[str, tuple[tuple[str, Any], ...]] = {
    "containers": (("name", None),),
    "initContainers": (("name", None),),
    "ephemeralContainers": (("name", None),),
    "env": (("name", None),),
    "ports": (("containerPort", None), ("protocol", "TCP")),
    "volumeMounts": (("mountPath", None),),
    "volumeDevices": (("devicePath", None),),
    "volumes": (("name", None),),
    "imagePullSecrets": (("name", None),),
    "hostAliases": (("ip", None),),
    "topologySpreadConstraints": (("topologyKey", None), ("whenUnsatisfiable", None)),
    "resourceClaims": (("name", None),),
    "claims": (("name", None),),
    "schedulingGates": (("name", None),),
    "ownerReferences": (("uid", None),),
}

# Maps that are replaced as a whole, so that a foreign entry counts as a difference.
_ATOMIC_MAPS = frozenset({"nodeSelector", "matchLabels"})

# The API server drops this field while its feature gate is off (lws-contract 3.2).
_DROPPED = (("updateStrategy", "rollingUpdate"), "maxUnavailable")

# Quantities in these are stored in thousandths at least: the API server rounds what is smaller up
# (SetDefaults_ResourceList in pkg/apis/core/v1/defaults.go of Kubernetes).
_RESOURCE_LISTS = (("requests",), ("limits",), ("overhead",))

# So many fields are named of those that became something else, and so much of each value.
MOST_NAMED = 5
MOST_TEXT = 60

_EMPTY: tuple[Any, ...] = (None, {}, [])


class Applied(Protocol):
    """What is compared of an object that is written by server-side apply."""

    @property
    def meta(self) -> facts.Meta:
        """Its metadata."""

    @property
    def spec(self) -> facts.Object:
        """Its spec as it is stored."""

    @property
    def managed_fields(self) -> Sequence[facts.Object]:
        """Who has written which fields of it."""


def covers(
    live: Applied, desired: Mapping[str, Any], *, manager: str = names.FIELD_MANAGER
) -> bool:
    """Whether applying ``desired`` as that field manager would leave ``live`` as it is."""
    owned = _owned(live.managed_fields, manager)
    return (
        owned is not None
        and _metadata_covered(live.meta, desired["metadata"])
        and _map_covered(live.spec, desired["spec"], path=())
        and not any(path for fields in owned for path in _no_longer_applied(fields, desired))
    )


def of_pods(live: facts.StatefulSet, desired: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the fields of the pod template that applying ``desired`` would change or take away.

    Where there is one, the StatefulSet controller replaces the pods.
    """
    place = ("spec", "template")
    changed_there = (
        path
        for path, _, _ in _differences(
            live.spec.get("template"), desired["spec"]["template"], path=place
        )
    )
    gone = (
        path
        for fields in _owned(live.managed_fields, names.FIELD_MANAGER) or ()
        for path in _no_longer_applied(fields, desired)
        if path[: len(place)] == place
    )
    return tuple(dict.fromkeys(".".join(path) for path in (*changed_there, *gone)))


def changed(answer: facts.Object, applied: Mapping[str, Any]) -> str:
    """Return in words what came of an apply instead of what was applied, "" if it is that.

    Only what was applied is looked at; admission adds to objects, and that is its right.
    """
    places = (("spec",), ("metadata", "labels"), ("metadata", "annotations"))
    found = [
        f"{'.'.join(path)} was applied as {_short(desired)} and became {_short(live)}"
        for place in places
        for path, live, desired in _differences(_at(answer, place), _at(applied, place), path=place)
    ]
    more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return ", ".join(found[:MOST_NAMED]) + more


def _at(obj: facts.Object, place: tuple[str, ...]) -> Any:
    for key in place:
        obj = obj.get(key) or {}
    return obj


_Path = tuple[str, ...]


def _differences(live: Any, desired: Any, *, path: _Path) -> Iterator[tuple[_Path, Any, Any]]:
    """Yield the innermost fields that are not as desired, with what they are and should be.

    Items of lists are compared by their places, unless there are more or fewer of them.
    """
    # The rules for a field of a spec begin below the spec.
    below = path[1:] if path[0] == "spec" else path
    if _covered(live, desired, path=below):
        return
    parts: list[tuple[Any, Any, tuple[str, ...]]] = []
    if isinstance(live, Mapping) and isinstance(desired, Mapping):
        parts = [(live.get(key), value, (*path, key)) for key, value in desired.items()]
    elif isinstance(live, list) and isinstance(desired, list) and len(live) == len(desired):
        pairs = enumerate(zip(live, desired, strict=True))
        parts = [(a, b, (*path[:-1], f"{path[-1]}[{place}]")) for place, (a, b) in pairs]
    inner = [one for part in parts for one in _differences(part[0], part[1], path=part[2])]
    if inner:
        yield from inner
        return
    yield path, live, desired


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}..."


def _owned(managed_fields: Sequence[facts.Object], manager: str) -> list[Mapping[str, Any]] | None:
    """Return the fields that a manager has applied; None if it never applied the object."""
    entries = [
        entry.get("fieldsV1") or {}
        for entry in managed_fields
        if entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    ]
    return entries or None


def _metadata_covered(live: facts.Meta, desired: Mapping[str, Any]) -> bool:
    references = {(owner.kind, owner.name, owner.uid, owner.controller) for owner in live.owners}
    return (
        _map_covered(live.labels, desired.get("labels") or {}, path=("labels",))
        and _map_covered(live.annotations, desired.get("annotations") or {}, path=("annotations",))
        and all(
            (owner["kind"], owner["name"], owner["uid"], bool(owner.get("controller")))
            in references
            for owner in desired.get("ownerReferences") or ()
        )
    )


def _map_covered(
    live: Mapping[str, Any], desired: Mapping[str, Any], *, path: tuple[str, ...]
) -> bool:
    if path and path[-1] in _ATOMIC_MAPS and set(live) != set(desired):
        return False
    return all(_covered(live.get(key), value, path=(*path, key)) for key, value in desired.items())


def _covered(live: Any, desired: Any, *, path: tuple[str, ...]) -> bool:
    if live is None and (desired in _EMPTY or (path[:-1], path[-1]) == _DROPPED):
        return True
    if desired is None:
        # Go writes some unset fields as null, and the API server may make "" of that.
        return live in (*_EMPTY, "")
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and _map_covered(live, desired, path=path)
    if isinstance(desired, list):
        return isinstance(live, list) and _list_covered(live, desired, path=path)
    return bool(live == desired) or (
        path[-2:-1] in _RESOURCE_LISTS and _same_in_thousandths(live, desired)
    )


def _same_in_thousandths(live: Any, desired: Any) -> bool:
    """Whether a quantity is what the API server stores of another one."""
    try:
        return quantity.thousandths(live) == quantity.thousandths(desired)
    except ValueError:
        return False


def _list_covered(live: list[Any], desired: list[Any], *, path: tuple[str, ...]) -> bool:
    keys = _LIST_KEYS.get(path[-1])
    if keys is None:
        pairs = list(zip(live, desired, strict=False))
        return len(live) == len(desired) and all(_covered(a, b, path=path) for a, b in pairs)
    positions = {_identity(item, keys): position for position, item in enumerate(live)}
    found = [positions.get(_identity(item, keys), -1) for item in desired]
    # An apply also puts the items in the order in which they are applied.
    in_order = found == sorted(found) and -1 not in found
    return in_order and all(
        _covered(live[position], item, path=path)
        for position, item in zip(found, desired, strict=True)
    )


def _identity(item: Any, keys: tuple[tuple[str, Any], ...]) -> str:
    values = [
        item.get(key, default) if isinstance(item, Mapping) else item for key, default in keys
    ]
    return json.dumps(values)


def _no_longer_applied(
    fields: Mapping[str, Any], desired: Any, *, path: _Path = ()
) -> Iterator[_Path]:
    """Yield the fields of a FieldsV1 set that ``desired`` does not have.

    f: is a field, k: an item of a list by its key, v: a value in one.
    """
    name = path[-1].partition("[")[0] if path else ""
    for token, children in fields.items():
        kind, _, rest = token.partition(":")
        if kind == "f":
            if not isinstance(desired, Mapping) or rest not in desired:
                yield (*path, rest)
            else:
                yield from _no_longer_applied(children, desired[rest], path=(*path, rest))
        elif kind == "k":
            here = (*path[:-1], f"{name}[{','.join(map(str, json.loads(rest).values()))}]")
            item = _item(desired, json.loads(rest), keys=_LIST_KEYS.get(name, ()))
            if item is None:
                yield here
            else:
                yield from _no_longer_applied(children, item, path=here)
        elif kind == "v" and json.loads(rest) not in (desired or ()):
            yield (*path[:-1], f"{name}[{json.loads(rest)}]")


def _item(
    desired: Any, wanted: Mapping[str, Any], *, keys: tuple[tuple[str, Any], ...]
) -> Mapping[str, Any] | None:
    defaults = dict(keys)
    if not isinstance(desired, list):
        return None
    for item in desired:
        if all(item.get(key, defaults.get(key)) == value for key, value in wanted.items()):
            return dict(item)
    return None
