"""What somebody has put into a StatefulSet by which its set cannot run.

Server-side apply leaves alone what another field manager adds to an object: a container, an amount
that the set does not name. So the pods would exceed what their group was admitted for, and wait
for ever. Where they do, and nowhere else, it is taken out again. Everything else that others add
stays: it asks for no quota. Leaders that are numbered from another ordinal than 0 are other groups,
for which nothing was admitted, so that is set back in any case.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import actions, facts, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.objects import statefulsets

_CODE: Final = "InvalidStatefulSet"
_LISTS: Final = ("containers", "initContainers")
_FIELDS: Final = ("resources", "overhead", "runtimeClassName", "resourceClaims")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a template has beyond what it should have.

    ``fields`` are its places below ``spec.template.spec`` by what stands there, ``change`` is the
    merge patch of that part by which it goes.
    """

    fields: tuple[str, ...]
    change: dict[str, Any]


def put_right(live: facts.StatefulSet, template: Json, *, set_name: str) -> actions.Part:
    """Return the write that takes it out, and who has put it there; nothing if there is nothing.

    ``template`` is the pod template that the StatefulSet should have.
    """
    found = of((live.spec.get("template") or {}).get("spec") or {}, template.get("spec") or {})
    if not found.fields:
        return actions.Part()
    writers = sorted(set(_writers(live, found.fields)))
    by = f" by field manager {', '.join(writers)}" if writers else ""
    places = ", ".join(f"spec.template.spec.{field}" for field in found.fields)
    text = (
        f"StatefulSet {live.meta.name}: {places} was changed{by}, so that its pods request more"
        " than was admitted, and is set back"
    )
    fix = f"Change spec.leaderWorkerTemplate of LeaderWorkerSet {set_name} instead"
    return _set_back(live, {"template": {"spec": found.change}}, Reason(_CODE, text, fix))


def numbered(live: facts.StatefulSet, *, set_name: str) -> actions.Part:
    """Return the write by which leaders are numbered from 0 again; nothing if they are."""
    start = (live.spec.get("ordinals") or {}).get("start", 0)
    if not start:
        return actions.Part()
    text = (
        f"StatefulSet {live.meta.name}: spec.ordinals.start was set to {start}, so that it has no"
        f" leaders of groups 0 to {start - 1}, and is set back"
    )
    fix = f"Leave it to LeaderWorkerSet {set_name}"
    return _set_back(live, {"ordinals": None}, Reason(_CODE, text, fix))


def _set_back(live: facts.StatefulSet, spec: dict[str, Any], why: Reason) -> actions.Part:
    """Return the merge patch of a spec, and why it is made."""
    patch = actions.Patch(statefulsets.ref(live), {"spec": spec}, live.meta.resource_version)
    return actions.Part(chains=((patch,),), reasons=(why,))


def of(live: Json, wanted: Json) -> Foreign:
    """Compare the pod spec of a template with the one that it should have."""
    fields: list[str] = []
    change: dict[str, Any] = {}
    for part in _LISTS:
        there = live.get(part) or ()
        known = {one.get("name"): one for one in wanted.get(part) or ()}
        odd = [one for one in there if _is_odd(one, known)]
        if odd:
            fields += [_place(part, one, known) for one in odd]
            kept = (_fitting(one, known) for one in there if one.get("name") in known)
            change[part] = list(kept) or None
    for field in _FIELDS:
        if (different := _difference(live.get(field), wanted.get(field))) is not None:
            fields.append(field)
            change[field] = different.value
    return Foreign(tuple(fields), change)


def _is_odd(container: Json, known: Mapping[Any, Json]) -> bool:
    return _fitting(container, known) != container


def _fitting(container: Json, known: Mapping[Any, Json]) -> Json | None:
    """Return a container with the amounts that it should have; None for one that is not known."""
    wanted = known.get(container.get("name"))
    if wanted is None:
        return None
    if _difference(container.get("resources"), wanted.get("resources")) is None:
        return container
    return {**container, "resources": wanted.get("resources") or {}}


def _place(part: str, container: Json, known: Mapping[Any, Json]) -> str:
    name = container.get("name")
    return f"{part}[{name}]" + (".resources" if name in known else "")


@dataclass(frozen=True, slots=True)
class _Different:
    value: Any


def _difference(live: Any, wanted: Any) -> _Different | None:
    """Return the merge patch that makes one of the other; None if both say the same."""
    if isinstance(live, Mapping) and isinstance(wanted, Mapping | None):
        inner = {
            key: different.value
            for key in (*live, *(key for key in wanted or () if key not in live))
            if (different := _difference(live.get(key), (wanted or {}).get(key))) is not None
        }
        if inner and not wanted:
            return _Different(None)
        return _Different(inner) if inner else None
    if (live or None) == (wanted or None):
        return None
    return _Different(wanted or None)


def _writers(live: facts.StatefulSet, fields: tuple[str, ...]) -> Iterator[str]:
    """Return the other field managers that own one of these fields."""
    for entry in live.managed_fields:
        manager = str(entry.get("manager") or "")
        owned = entry.get("fieldsV1") or {}
        for step in ("f:spec", "f:template", "f:spec"):
            owned = owned.get(step) or {}
        ours = manager == names.FIELD_MANAGER or entry.get("subresource")
        if not ours and any(_owns(owned, field) for field in fields):
            yield manager


def _owns(owned: Json, field: str) -> bool:
    """Whether a FieldsV1 set has a field such as ``containers[c].resources``."""
    name, _, rest = field.partition("[")
    inner = owned.get(f"f:{name}")
    if inner is None or not rest:
        return inner is not None
    item, _, below = rest.partition("]")
    found = inner.get(f'k:{{"name":"{item}"}}')
    return found is not None and (not below or f"f:{below.removeprefix('.')}" in found)
