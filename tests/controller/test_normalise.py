from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lws_kueue.api import quantity
from lws_kueue.controller.revision import go_schema, normalise

_SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["", "a", "<&>", "é\u2028"]),
    "bool": st.booleans(),
    "int": st.sampled_from([0, 1, -3, 8080, 2**60 + 7]),
    "intstr": st.sampled_from([0, 80, "http", ""]),
    "quantity": st.sampled_from(["0", "0.5", "1024Mi", "1000m", "1.5Gi", "1e3", 2]),
    "time": st.just("2024-01-01T00:00:00Z"),
}


@st.composite
def _values(draw: st.DrawFn, kind: str, depth: int = 0) -> Any:
    """Draw an object of a type, with nulls, empty values and unknown fields."""
    fields = go_schema.types().get(kind)
    if fields is None:
        return draw(_SCALARS[kind])
    present = draw(st.sets(st.sampled_from(fields), max_size=max(1, 4 - depth)))
    value: dict[str, Any] = {"unknown": 1} if draw(st.booleans()) else {}
    for field in sorted(present, key=lambda field: field.name):
        item = st.none() | _values(field.of, depth + 1)
        shapes = {
            "[]": st.lists(item, max_size=2),
            "{}": st.dictionaries(st.text(), item, max_size=2),
        }
        value[field.name] = draw(st.none() | shapes.get(field.shape, item))
    return value


@given(_values("LeaderWorkerTemplate"))
@settings(max_examples=100, deadline=None)
def test_normalising_twice_is_normalising_once(value: Any) -> None:
    once = normalise.normalise(value, "LeaderWorkerTemplate")
    assert normalise.normalise(once, "LeaderWorkerTemplate") == once


@settings(deadline=None)
@given(
    st.from_regex(
        r"[+-]?[0-9]{1,12}(\.[0-9]{0,10})?([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9])?", fullmatch=True
    )
)
def test_respelling_a_quantity_twice_is_respelling_it_once(text: str) -> None:
    assert quantity.canonical(quantity.canonical(text)) == quantity.canonical(text)


def test_every_type_of_the_table_is_known() -> None:
    types = go_schema.types()
    used = {field.of for fields in types.values() for field in fields}
    assert used - set(types) == {"string", "bool", "int", "intstr", "quantity", "time"}


# Spellings as Go's resource.Quantity gives them.
@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("0", "0"),
        ("0Gi", "0"),
        ("-0", "0"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5."),
        ("1000m", "1"),
        ("100m", "100m"),
        ("+100m", "+100m"),
        ("010m", "010m"),
        ("1.500", "1.500"),
        ("1.5", "1500m"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("-1.5Gi", "-1536Mi"),
        ("1023Ki", "1023Ki"),
        ("8Ki", "8Ki"),
        ("1024", "1024"),
        ("0.1Ki", "102400m"),
        ("0.3Gi", "322122547200m"),
        ("1000000", "1M"),
        ("1e3", "1e3"),
        ("10e2", "1e3"),
        ("1E3", "1E3"),
        ("1e-12", "1e-9"),
        ("0.0000000001", "1n"),
        ("16Ei", "9223372036854775807"),
        ("100000000000000000000", "100E"),
        ("", ""),
        ("many", "many"),
    ],
)
def test_a_quantity_is_spelled_as_go_spells_it(written: str, canonical: str) -> None:
    assert quantity.canonical(written) == canonical


def _pod(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "c", **spec.pop("container", {})}], **spec}}
    normalised: dict[str, Any] = normalise.normalise(template, "PodTemplateSpec")
    return normalised


def test_optional_values_that_are_zero_are_dropped() -> None:
    written = _pod(
        hostNetwork=False,
        nodeSelector={},
        tolerations=[],
        container={
            "tty": False,
            "env": [{"name": "A", "value": ""}],
            "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": False}],
            "ports": [{"containerPort": 80, "hostPort": 0}],
            "livenessProbe": {"periodSeconds": 0, "tcpSocket": {"port": "http"}},
        },
    )
    assert written["spec"] == {
        "containers": [
            {
                "name": "c",
                "env": [{"name": "A"}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"tcpSocket": {"port": "http"}},
                "resources": {},
            }
        ]
    }


def test_pointers_keep_their_zero_values_and_empty_structs() -> None:
    spec = {
        "terminationGracePeriodSeconds": 0,
        "enableServiceLinks": False,
        "securityContext": {},
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": None}],
    }
    assert {k: v for k, v in _pod(**spec)["spec"].items() if k != "containers"} == {
        **spec,
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w"}],
    }


def test_what_go_always_writes_is_there_even_if_unset() -> None:
    assert normalise.normalise({}, "PodTemplateSpec") == {
        "metadata": {},
        "spec": {"containers": None},
    }
    assert normalise.normalise({}, "PersistentVolumeClaim") == {
        "metadata": {},
        "spec": {"resources": {}},
        "status": {},
    }
    assert normalise.normalise({"resource": "cpu"}, "ResourceFieldSelector") == {
        "divisor": "0",
        "resource": "cpu",
    }
    assert normalise.normalise({}, "ProjectedVolumeSource") == {"sources": None}
    assert normalise.normalise({"port": 1}, "GRPCAction") == {"port": 1, "service": None}
    assert normalise.normalise({}, "NodeSelector") == {"nodeSelectorTerms": None}


def test_integers_that_a_float_cannot_hold_change_as_in_go() -> None:
    assert _pod(activeDeadlineSeconds=2**63 - 1)["spec"]["activeDeadlineSeconds"] == (
        9223372036854776000
    )
