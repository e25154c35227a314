"""What somebody has put into a StatefulSet by which its set cannot run.

Server-side apply leaves alone what another field manager adds to an object: a container, an amount
that the set does not name. So the pods would exceed what their group was admitted for, and wait
for ever. Where they do, and nowhere else, it is taken out of the template again. Everything else
that others add there stays: it asks for no quota.

Beside the template are fields that decide which pods there are and when they are replaced. A set
says that itself, so what others make of them is set back in any case (``set_back``). A table in
docs/compatibility.md says what becomes of each.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import actions, facts, names
from lws_kueue.api.reasons import Reason
from lws_kueue.controller.objects import statefulsets

_CODE: Final = "InvalidStatefulSet"
_LISTS: Final = ("containers", "initContainers")
_ROLLS: Final = "RollingUpdate"
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
    by = _by(live, found.fields, below=("f:spec", "f:template", "f:spec"))
    places = ", ".join(f"spec.template.spec.{field}" for field in found.fields)
    text = (
        f"StatefulSet {live.meta.name}: {places} was changed{by}, so that its pods request more"
        " than was admitted, and is set back"
    )
    fix = f"Change spec.leaderWorkerTemplate of LeaderWorkerSet {set_name} instead"
    why = Reason(_CODE, text, fix, about=f"StatefulSet {live.meta.name}: spec.template.spec")
    return _patched(live, {"template": {"spec": found.change}}, why)


def leaders(live: facts.StatefulSet, *, set_name: str) -> actions.Part:
    """Return the write that sets back what an apply leaves alone; nothing if there is nothing."""
    if not (change := set_back(live, first=0)):
        return actions.Part()
    return _patched(live, change, *told(live, first=0, set_name=set_name))


def set_back(live: facts.StatefulSet, *, first: int) -> dict[str, Any]:
    """Return the merge patch by which the spec of leaders or workers is as it should be.

    ``first`` is the lowest ordinal of their pods: 0 of leaders, 1 of workers. What the leaders'
    apply holds, and the template, are left out.
    """
    return {name: value for one in _odd(live.spec, first=first) for name, value in one.change}


def told(live: facts.StatefulSet, *, first: int, set_name: str) -> tuple[Reason, ...]:
    """Return a Warning for each field that ``set_back`` changes: what it does, and who did it."""
    reasons = []
    for one in _odd(live.spec, first=first):
        by = _by(live, [name for name, _ in one.change], below=("f:spec",))
        text = f"StatefulSet {live.meta.name}: spec.{one.what}{by}, so that {one.effect}, and is"
        fix = one.fix or f"Leave it to {names.LWS_KIND} {set_name}"
        about = f"StatefulSet {live.meta.name}: spec.{one.change[0][0]}"
        reasons.append(Reason(_CODE, f"{text} set back", fix, about=about))
    return tuple(reasons)


@dataclass(frozen=True, slots=True)
class _Odd:
    what: str
    effect: str
    change: tuple[tuple[str, Any], ...]
    fix: str = ""


def _odd(spec: Json, *, first: int) -> Iterator[_Odd]:
    start = (spec.get("ordinals") or {}).get("start", 0)
    if start != first:
        effect = f"it has no leaders of groups 0 to {start - 1}"
        if first:
            effect = "its pods are not the workers of its group"
        wanted = {"start": first} if first else None
        yield _Odd(f"ordinals.start was set to {start}", effect, (("ordinals", wanted),))
    if seconds := spec.get("minReadySeconds") or 0:
        yield _Odd(
            f"minReadySeconds was set to {seconds}",
            "an update waits that long for each pod that is ready",
            (("minReadySeconds", None),),
            "Let the readiness probe of the pods say when they count as ready",
        )
    if first and (strategy := _strategy(spec)) is not None:
        yield strategy


def _strategy(spec: Json) -> _Odd | None:
    """Return by what workers keep a template that their StatefulSet has no longer.

    What makes them request too much would never leave them, and a restart would do nothing.
    """
    strategy = spec.get("updateStrategy") or {}
    kind = strategy.get("type") or _ROLLS
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if kind == _ROLLS and not partition:
        return None
    what = f"rollingUpdate.partition was set to {partition}" if partition else f"type is {kind}"
    wanted = {"type": _ROLLS, "rollingUpdate": {"partition": 0}}
    effect = "its pods stay as they are when its template changes"
    return _Odd(f"updateStrategy.{what}", effect, (("updateStrategy", wanted),))


def _patched(live: facts.StatefulSet, spec: dict[str, Any], *why: Reason) -> actions.Part:
    """Return the merge patch of a spec, and why it is made."""
    patch = actions.Patch(statefulsets.ref(live), {"spec": spec}, live.meta.resource_version)
    return actions.Part(chains=((patch,),), reasons=why)


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


def _by(live: facts.StatefulSet, fields: Collection[str], *, below: tuple[str, ...]) -> str:
    """Say which other field managers own one of the fields ``below`` a place; "" for nobody."""
    writers = sorted(set(_writers(live, fields, below=below)))
    return f" by field manager {', '.join(writers)}" if writers else ""


def _writers(
    live: facts.StatefulSet, fields: Collection[str], *, below: tuple[str, ...]
) -> Iterator[str]:
    for entry in live.managed_fields:
        manager = str(entry.get("manager") or "")
        owned = entry.get("fieldsV1") or {}
        for step in below:
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
