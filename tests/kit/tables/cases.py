"""Topology annotations of both templates, and what is wrong with them.

One table for the two places that judge them: the controller's own check, and the policy
`lws-kueue-topology-rules` on a real API server.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lws_kueue.api import names

REQUIRED: Final = names.PODSET_REQUIRED_TOPOLOGY
PREFERRED: Final = names.PODSET_PREFERRED_TOPOLOGY
UNCONSTRAINED: Final = names.PODSET_UNCONSTRAINED_TOPOLOGY
SLICE: Final = names.PODSET_SLICE_REQUIRED_TOPOLOGY
SIZE: Final = names.PODSET_SLICE_SIZE
LAYERS: Final = names.PODSET_SLICE_CONSTRAINTS
GROUP: Final = names.PODSET_GROUP_NAME
RACK: Final = "cloud.provider.com/topology-rack"
BLOCK: Final = "cloud.provider.com/topology-block"
HOST: Final = "kubernetes.io/hostname"

Marks = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Annotations, and the faults: `leader` or `worker`, what follows in the path, the text.

    rows: ids of acceptance rows, if the case is one.
    leader: None for a set without a leader template.
    unread: the policy leaves this one to the controller.
    """

    name: str
    worker: Marks
    leader: Marks | None = None
    size: int = 4
    faults: Sequence[str] = ()
    rows: Sequence[str] = ()
    unread: bool = False

    def texts(self) -> list[str]:
        """The faults with their whole paths, sorted."""
        path = "spec.leaderWorkerTemplate."
        return sorted(
            path + fault[:6] + "Template.metadata.annotations" + fault[6:] for fault in self.faults
        )

    def template(self) -> dict[str, Any]:
        """The part of a set's `spec.leaderWorkerTemplate` that the case is about."""
        leader = None if self.leader is None else {"metadata": {"annotations": dict(self.leader)}}
        return {
            "size": self.size,
            "leaderTemplate": leader,
            "workerTemplate": {"metadata": {"annotations": dict(self.worker)}},
        }


def _row(row: str, name: str, *, worker: Marks, **more: Any) -> Case:
    return Case(rows=(row,), name=name, worker=worker, **more)


def _both(*faults: str) -> list[str]:
    return [role + fault for role in ("leader", "worker") for fault in faults]


def _layers(*layers: tuple[str, int]) -> str:
    return json.dumps([{"topology": topology, "size": size} for topology, size in layers])


_NOT_THE_SAME: Final = (
    ": must ask for the same required or the same preferred topology as the other template"
)
_LONE: Final = (
    f"[{GROUP}]: must be set, with the same value, on the leader and on the worker template"
)
_UNPLACED: Final = f"[{GROUP}]: may not be set when neither {REQUIRED} nor {PREFERRED} is set"
_PLACED_TWICE: Final = f": at most one of {REQUIRED}, {PREFERRED}, {UNCONSTRAINED} may be set"
_GROUPED: Final[Marks] = {REQUIRED: RACK, GROUP: "g"}
_SLICED: Final[Marks] = {REQUIRED: BLOCK, SLICE: RACK, SIZE: "1"}
_UNREADABLE: Final = (
    f"worker[{LAYERS}]: must be a JSON list of 1 to 3 objects, each with a topology and a whole"
    " size and nothing else"
)

ROWS: Final = (
    *(
        _row("C06", f"each-{key.rpartition('-')[0][-9:]}", leader=marks, worker=marks)
        for marks in ({REQUIRED: RACK}, {PREFERRED: RACK}, {UNCONSTRAINED: "true"})
        for key in marks
    ),
    _row(
        "C07",
        "two-placements-on-each-template",
        leader={REQUIRED: RACK, PREFERRED: BLOCK},
        worker={REQUIRED: RACK, PREFERRED: BLOCK},
        faults=_both(_PLACED_TWICE),
    ),
    _row(
        "C08",
        "slices-larger-than-their-podsets",
        leader={**_SLICED, SIZE: "2"},
        worker={**_SLICED, SIZE: "20"},
        faults=[
            f"leader[{SIZE}]: must not be greater than the 1 pods of the podset",
            f"worker[{SIZE}]: must not be greater than the 3 pods of the podset",
        ],
    ),
    _row(
        "C09",
        "slice-size-without-topology",
        leader={REQUIRED: BLOCK, SIZE: "1"},
        worker={REQUIRED: BLOCK, SIZE: "1"},
        faults=_both(f"[{SIZE}]: may not be set when {SLICE} is not set"),
    ),
    _row(
        "C10",
        "slice-topology-without-size",
        leader={REQUIRED: BLOCK, SLICE: RACK},
        worker={REQUIRED: BLOCK, SLICE: RACK},
        faults=_both(f"[{SIZE}]: must be set when {SLICE} is set"),
    ),
    _row(
        "C11",
        "group-of-slices",
        leader={**_SLICED, GROUP: "g"},
        worker={**_SLICED, GROUP: "g"},
        faults=_both(*(f"[{GROUP}]: may not be set when {key} is set" for key in (SIZE, SLICE))),
    ),
    _row("C12", "group", leader=_GROUPED, worker=_GROUPED),
    _row(
        "C13",
        "number-as-group",
        leader={REQUIRED: RACK, GROUP: "1234"},
        worker={REQUIRED: RACK, GROUP: "1234"},
        faults=_both(f"[{GROUP}]: must not be a number"),
    ),
    _row(
        "C14",
        "group-of-leader-alone",
        leader=_GROUPED,
        worker={REQUIRED: RACK},
        faults=["leader" + _LONE],
    ),
    _row(
        "C15",
        "group-of-workers-alone",
        leader={REQUIRED: RACK},
        worker=_GROUPED,
        faults=["worker" + _LONE],
    ),
    _row(
        "C16",
        "two-groups",
        leader=_GROUPED,
        worker={REQUIRED: RACK, GROUP: "h"},
        faults=_both(_LONE),
    ),
    _row(
        "C17",
        "group-of-two-required-topologies",
        leader=_GROUPED,
        worker={REQUIRED: BLOCK, GROUP: "g"},
        faults=_both(_NOT_THE_SAME),
    ),
    _row(
        "C18",
        "group-of-two-preferred-topologies",
        leader={PREFERRED: RACK, GROUP: "g"},
        worker={PREFERRED: BLOCK, GROUP: "g"},
        faults=_both(_NOT_THE_SAME),
    ),
    _row(
        "C19",
        "group-of-required-and-preferred",
        leader=_GROUPED,
        worker={PREFERRED: RACK, GROUP: "g"},
        faults=_both(_NOT_THE_SAME),
    ),
    _row(
        "C20",
        "group-without-placement",
        leader={GROUP: "g"},
        worker={GROUP: "g"},
        faults=_both(_UNPLACED),
    ),
    # Refused by Kueue's built-in integration (docs/compatibility.md).
    _row("C21", "group-without-leader", worker=_GROUPED),
)


def _value(name: str, marks: Marks, *faults: str, **more: Any) -> Case:
    return Case(name=name, worker=marks, faults=faults, **more)


_GOOD: Final = (
    _value("nothing", {}),
    _value("not-about-topology", {"example.com/a": "b", names.KUEUE_PREFIX + "x": "y"}),
    _value("false", {UNCONSTRAINED: "F"}),
    _value("slices-of-all", {**_SLICED, SIZE: "4"}),
    _value("slices-of-half", {**_SLICED, SIZE: "2"}),
    _value("slices-of-single-workers", {**_SLICED, SIZE: "1"}, leader={}, size=8),
    _value("slices-with-sign", {**_SLICED, SIZE: "+004"}),
    _value("preferred-group-without-leader", {PREFERRED: RACK, GROUP: "g"}),
    _value("one-layer", {REQUIRED: BLOCK, LAYERS: _layers((RACK, 4))}),
    _value("three-layers", {LAYERS: _layers((BLOCK, 4), (RACK, 2), (HOST, 1))}),
    _value(
        "layers-in-any-order-and-space",
        {LAYERS: ' [\t{"size":4,"topology" : "a"} ,\n{ "topology":"b","size":2 }]\r\n'},
    ),
    _value(
        "as-much-text-as-the-policy-reads",
        {LAYERS: _layers((BLOCK, 3), (RACK, 1)).ljust(4096)},
        leader={LAYERS: _layers((HOST, 1)).rjust(4096)},
    ),
    _value("topologies-called-like-fields", {LAYERS: _layers(("size", 4), ("topology", 2))}),
)

_BAD_PLACEMENTS: Final = (
    _value("no-label-key", {REQUIRED: "a b"}, f"worker[{REQUIRED}]: must be a label key"),
    _value("empty", {REQUIRED: ""}, f"worker[{REQUIRED}]: must be a label key"),
    _value("empty-prefix", {PREFERRED: "/x"}, f"worker[{PREFERRED}]: must be a label key"),
    _value("two-slashes", {PREFERRED: "a/b/c"}, f"worker[{PREFERRED}]: must be a label key"),
    _value("long-name", {PREFERRED: "a" * 64}, f"worker[{PREFERRED}]: must be a label key"),
    _value(
        "no-boolean", {UNCONSTRAINED: "yes"}, f"worker[{UNCONSTRAINED}]: must be a boolean value"
    ),
    _value(
        "three-placements",
        {REQUIRED: RACK, PREFERRED: RACK, UNCONSTRAINED: "true"},
        "worker" + _PLACED_TWICE,
    ),
    _value("empty-group", {REQUIRED: RACK, GROUP: ""}, f"worker[{GROUP}]: must not be empty"),
    _value(
        "empty-groups",
        {REQUIRED: RACK, GROUP: ""},
        *_both(f"[{GROUP}]: must not be empty"),
        leader={REQUIRED: RACK, GROUP: ""},
    ),
    _value(
        "number-as-group-without-leader",
        {REQUIRED: RACK, GROUP: "1234"},
        f"worker[{GROUP}]: must not be a number",
    ),
    _value(
        "group-of-slices-without-leader",
        {**_SLICED, GROUP: "g"},
        *(f"worker[{GROUP}]: may not be set when {key} is set" for key in (SIZE, SLICE)),
    ),
    _value("group-without-leader-and-placement", {GROUP: "g"}, "worker" + _UNPLACED),
    _value(
        "group-of-layers",
        {REQUIRED: RACK, LAYERS: _layers((RACK, 1)), GROUP: "g"},
        f"worker[{GROUP}]: may not be set when {LAYERS} is set",
        leader=_GROUPED,
    ),
    _value(
        "group-unconstrained",
        {UNCONSTRAINED: "true", GROUP: "g"},
        *_both(_UNPLACED),
        leader={UNCONSTRAINED: "true", GROUP: "g"},
    ),
)

_BAD_SLICES: Final = (
    _value("no-slices", {**_SLICED, SIZE: "0"}, f"worker[{SIZE}]: must be at least 1"),
    _value("negative-slices", {**_SLICED, SIZE: "-1"}, f"worker[{SIZE}]: must be at least 1"),
    _value(
        "uneven-slices",
        {**_SLICED, SIZE: "3"},
        f"worker[{SIZE}]: must divide the 4 pods of the podset",
    ),
    _value(
        "slices-that-divide-the-group-and-not-its-workers",
        {**_SLICED, SIZE: "2"},
        f"worker[{SIZE}]: must divide the 3 pods of the podset",
        leader={},
    ),
    _value("words", {**_SLICED, SIZE: "two"}, f"worker[{SIZE}]: must be a whole number"),
    _value("empty-size", {**_SLICED, SIZE: ""}, f"worker[{SIZE}]: must be a whole number"),
    _value("33-bits", {**_SLICED, SIZE: "2147483648"}, f"worker[{SIZE}]: must be a whole number"),
    _value("many-digits", {**_SLICED, SIZE: "9" * 40}, f"worker[{SIZE}]: must be a whole number"),
    _value(
        "32-bits",
        {**_SLICED, SIZE: "2147483647"},
        f"worker[{SIZE}]: must not be greater than the 4 pods of the podset",
    ),
    _value(
        "no-workers",
        _SLICED,
        f"worker[{SIZE}]: must not be greater than the 0 pods of the podset",
        leader={},
        size=1,
    ),
    _value("bad-level", {**_SLICED, SLICE: "-"}, f"worker[{SLICE}]: must be a label key"),
)

_BAD_LAYERS: Final = (
    *(
        _value(f"unreadable-{number}", {LAYERS: text}, _UNREADABLE)
        for number, text in enumerate(
            (
                "",
                "{}",
                "[]",
                "null",
                "[null]",
                "[1]",
                "[",
                '[{"topology":"a","size":4}',
                '[{"topology":"a","size":4},]',
                '[{"topology":"a","size":4}] x',
                '[{"topology":"a"}]',
                '[{"size":4}]',
                '[{"topology":"a","size":"4"}]',
                '[{"topology":"a","size":4.0}]',
                '[{"topology":"a","size":04}]',
                '[{"topology":"a","size":true}]',
                '[{"topology":"a","size":2147483648}]',
                '[{"topology":"a","size":99999999999999999999}]',
                '[{"topology":4,"size":4}]',
                '[{"Topology":"a","size":4}]',
                '[{"topology":"a","size":4,"size":2}]',
                '[{"topology":"a","topology":"b"}]',
                '[{"topology":"a","size":4,"more":1}]',
                '[{"topology":"a\n","size":4}]',
                "[" * 5000,
                _layers((BLOCK, 4), (RACK, 4), (HOST, 2), ("a", 1)),
            )
        )
    ),
    _value(
        "indivisible",
        {LAYERS: _layers(("b", 3), ("a", 2))},
        f"worker[{LAYERS}][1].size: must divide the size 3 of the layer above",
        size=3,
    ),
    _value(
        "uneven-layers",
        {LAYERS: _layers(("b", 3), ("a", 1))},
        f"worker[{LAYERS}][0].size: must divide the 4 pods of the podset",
    ),
    _value(
        "layers-that-divide-the-group-and-not-its-workers",
        {LAYERS: _layers(("b", 2), ("a", 1))},
        f"worker[{LAYERS}][0].size: must divide the 3 pods of the podset",
        leader={},
    ),
    _value(
        "layer-twice",
        {LAYERS: _layers(("b", 4), ("c", 2), ("b", 1))},
        f"worker[{LAYERS}][2].topology: must not be that of another layer",
    ),
    _value(
        "all-layers-bad",
        {LAYERS: _layers(("-", 8), ("a b", 0), ("c", -1))},
        f"worker[{LAYERS}][0].topology: must be a label key",
        f"worker[{LAYERS}][0].size: must not be greater than the 4 pods of the podset",
        f"worker[{LAYERS}][1].topology: must be a label key",
        f"worker[{LAYERS}][1].size: must be at least 1",
        f"worker[{LAYERS}][2].size: must be at least 1",
    ),
    _value(
        "layers-and-slices",
        {LAYERS: _layers(("b", 2)), SLICE: RACK, SIZE: "2"},
        f"worker[{LAYERS}]: may not be set when {SLICE} is set",
        f"worker[{LAYERS}]: may not be set when {SIZE} is set",
    ),
    _value(
        "escapes",
        {LAYERS: r'[{"topology":"a\/b","size":8}]'},
        f"worker[{LAYERS}][0].size: must not be greater than the 4 pods of the podset",
        unread=True,
    ),
)

CASES: Final = (*ROWS, *_GOOD, *_BAD_PLACEMENTS, *_BAD_SLICES, *_BAD_LAYERS)
