"""Objects as somebody with an editor, or with ill will, may send them: each of a seed.

What is changed is something that stands in an object, a mark of ours or of Kueue's, or any field of
the definition, which is made together with all that has to stand above it.
"""

import copy
import functools
import random
from collections.abc import Iterator
from typing import Any, Final

import yaml

from lws_kueue.api import names
from tests.kit.admission import support

Object = dict[str, Any]

TEXTS: Final = [
    "", " ", "a", "A_b", "-1", "0", "1", "2", "3", "007", "1.5", "1e3", "1e1000000", "1E-400",
    "9" * 30, "-5Gi", "1Zi", "0x10", "NaN", "²", "ü/ä", "a/b/c", "x" * 64, "y" * 300, "{}", "null",
    "kubernetes.io/hostname", "50%", "101%", "-10%", "%", "\u0000", "\u202e", "🦉", "a\nb", "$(A)",
    "2030-01-01T00:00:00Z",
]  # fmt: skip
ODD: Final[list[Any]] = [
    None, True, 0, 1, -1, 2, 3, 101, 2**31 - 1, 2**31, 2**53, -(2**63), 0.5, 1e300, [], {}, [None],
    [""], [{}], {"": ""}, {"a": None}, {"name": "c"}, [{"name": "c"}, {"name": "c"}], 10**40,
]  # fmt: skip
AMOUNTS: Final[list[Any]] = [
    "1e400", "1e-400", "9223372036854775808Ki", "9223372036854775807", "8Ei", "16Ei", "-1", "-0",
    "0", "1n", "1u", "0.1m", "1Ki1", "1E", "1e", ".5", "5.", "+5", "1e1e1", "100%", "٣", "1 ", "",
    "9" * 400, "0." + "0" * 400 + "1", "1_000", "inf", 0, -1, 0.1, 1e300, 2**53, 10**30, True, None,
]  # fmt: skip
RESOURCES: Final = [
    "cpu", "memory", "pods", "google.com/tpu", "nvidia.com/gpu", "hugepages-2Mi",
    "ephemeral-storage", "x", "", "a/b/c", "requests.cpu", "ü",
]  # fmt: skip
MARKS: Final = [
    names.SET_NAME, names.GROUP_INDEX, names.WORKER_INDEX, names.GROUP_KEY, names.REVISION_KEY,
    names.SIZE, names.REPLICAS, names.LEADER_NAME, names.QUEUE_NAME, names.EXCLUSIVE_TOPOLOGY,
    names.SUBGROUP_SIZE, names.WORKLOAD, names.PODSET_REQUIRED_TOPOLOGY,
    names.PODSET_PREFERRED_TOPOLOGY, names.PODSET_SLICE_REQUIRED_TOPOLOGY, names.PODSET_SLICE_SIZE,
    names.PODSET_SLICE_CONSTRAINTS, names.POD_INDEX_OFFSET, names.RECREATE_GROUP_AFTER_START,
    names.POD_SUSPENDING_PARENT, "kueue.x-k8s.io/priority-class",
    "kueue.x-k8s.io/podset-group-name", "example.com/own",
]  # fmt: skip
# How many items the longest lists have, and for how many mutations there is one of them.
MANY: Final = 10_000
# The API server itself compares each spread constraint of a pod with each other one: for 10,000 it
# takes ten seconds where it has a core for itself, on a busy one longer than a request may last.
MANY_CONSTRAINTS: Final = 1_000
_SELDOM: Final = 0.01


@functools.cache
def definition() -> Object:
    """Return the schema of a set's spec."""
    text = (support.ROOT / "crds/leaderworkersets.yaml").read_text(encoding="utf-8")
    (version,) = yaml.safe_load(text)["spec"]["versions"]
    spec: Object = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def pod_definition() -> Object:
    """Return the schema of a pod's spec, which is that of a template's."""
    group = definition()["properties"]["leaderWorkerTemplate"]["properties"]
    spec: Object = group["workerTemplate"]["properties"]["spec"]
    return spec


def mutated(rng: random.Random, base: Object) -> Object:
    """Return a copy of an object in which one thing is changed, or a few."""
    obj = copy.deepcopy(base)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        _mutate(rng, obj)
    return obj


def _mutate(rng: random.Random, obj: Object) -> None:
    """Change one thing about an object."""
    # What is changed twice may have nothing left in it.
    places = [place for place in _places(obj) if place != (obj, "metadata")]
    at, key = rng.choice(places)
    match rng.randrange(9):
        case 0:
            if isinstance(at, dict):
                del at[key]
            else:
                at.insert(key, copy.deepcopy(at[key]))
        case 1:
            at[key] = copy.deepcopy(rng.choice(ODD))
        case 2:
            at[key] = rng.choice(TEXTS)
        case 3:
            if isinstance(at, dict):
                name = rng.choice([*MARKS, "extra", "resources", "annotations", "overhead", "size"])
                at[name] = rng.choice([rng.choice(TEXTS), copy.deepcopy(rng.choice(ODD))])
        case 4 | 5:
            template, _ = rng.choice([(obj, ""), *(one for one in places if _has_marks(one))])
            marks = template["metadata"].setdefault(rng.choice(["labels", "annotations"]), {})
            if isinstance(marks, dict):
                marks[rng.choice(MARKS)] = rng.choice(TEXTS)
        case _:
            schema = pod_definition() if obj["kind"] == "Pod" else definition()
            if isinstance(obj.get("spec"), dict):
                _reach(rng, obj["spec"], schema)


def _places(obj: Any) -> Iterator[tuple[Any, Any]]:
    """Return where values stand below an object, but for what a request is sent to."""
    items = enumerate(obj) if isinstance(obj, list) else obj.items()
    for key, value in items:
        if key in ("apiVersion", "kind", "namespace"):
            continue
        yield obj, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _has_marks(place: tuple[Any, Any]) -> bool:
    at, key = place
    return key == "metadata" and isinstance(at, dict) and isinstance(at[key], dict)


def _reach(rng: random.Random, at: Object, schema: Object) -> None:
    """Put something into any field that a schema has, and make what has to stand above it."""
    while True:
        name = rng.choice(sorted(schema["properties"]))
        field = schema["properties"][name]
        below = field.get("items", field)
        if "properties" not in below or rng.random() < 0.2:
            at[name] = _value(rng, field)
            return
        if below is field:
            if not isinstance(at.get(name), dict):
                at[name] = _least(field)
            at = at[name]
        else:
            if not isinstance(at.get(name), list) or not at[name]:
                at[name] = [_least(below)]
            number = rng.randrange(len(at[name]))
            if not isinstance(at[name][number], dict):
                at[name][number] = _least(below)
            at = at[name][number]
        schema = below


def _least(schema: Object) -> Any:
    """Return the least that has the shape which a schema asks for."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            return {name: _least(schema["properties"][name]) for name in required}
        case "array":
            return []
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return "a"


def _value(rng: random.Random, schema: Object) -> Any:
    """Return what has the right shape and is odd, or what has another shape."""
    if rng.random() < 0.3:
        return copy.deepcopy(rng.choice(ODD))
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return rng.choice(AMOUNTS)
    match schema.get("type"):
        case "integer" | "number":
            return rng.choice([one for one in ODD if isinstance(one, int | float)])
        case "boolean":
            return rng.choice([True, False])
        case "array":
            return _items(rng, schema["items"])
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return _entries(rng, schema["additionalProperties"])
        case "object":
            return _least(schema)
    return "y" * MANY if rng.random() < _SELDOM else rng.choice(TEXTS)


def _items(rng: random.Random, schema: Object) -> list[Any]:
    """Return a list: of nothing, of one, of the same twice, or of very many."""
    many = MANY_CONSTRAINTS if "whenUnsatisfiable" in schema.get("properties", ()) else MANY
    number = many if rng.random() < _SELDOM else rng.choice([0, 1, 2, 2])
    return [_least(schema) for _ in range(number)]


def _entries(rng: random.Random, schema: Object) -> Object:
    """Return a mapping, of amounts of resources where it can be one."""
    if schema.get("x-kubernetes-int-or-string"):
        return {rng.choice(RESOURCES): rng.choice(AMOUNTS) for _ in range(rng.choice([1, 1, 2]))}
    if rng.random() < _SELDOM:
        return {f"example.com/{number}": "a" for number in range(MANY)}
    return {rng.choice([*TEXTS, *MARKS]): rng.choice(TEXTS)}
