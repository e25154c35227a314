"""A definition that comes or goes is noticed; whatever else happens to definitions is not."""

from typing import Any

import pytest

from lws_kueue.runtime import definitions, resources

FLAVORS = f"{resources.FLAVORS.plural}.{resources.FLAVORS.group}"
SERVED, AWAY = frozenset({FLAVORS}), frozenset[str]()


def definition(
    name: str = FLAVORS, *, established: str = "True", version: str = "", served: bool = True
) -> dict[str, Any]:
    version = version or resources.FLAVORS.version
    return {
        "metadata": {"name": name},
        "spec": {"versions": [{"name": version, "served": served}]},
        "status": {"conditions": [{"type": "Established", "status": established}]},
    }


@pytest.mark.parametrize(
    ("before", "event", "told", "changed"),
    [
        pytest.param(SERVED, None, definition(), False, id="listed"),
        pytest.param(SERVED, "MODIFIED", definition(), False, id="edited"),
        pytest.param(SERVED, "DELETED", definition(), True, id="deleted"),
        pytest.param(AWAY, "ADDED", definition(established="False"), False, id="not-yet"),
        pytest.param(AWAY, "ADDED", {"metadata": {"name": FLAVORS}}, False, id="just-made"),
        pytest.param(AWAY, "MODIFIED", definition(), True, id="established"),
        pytest.param(AWAY, None, definition(), True, id="served-since"),
        pytest.param(AWAY, "MODIFIED", definition(version="v1alpha1"), False, id="too-old"),
        pytest.param(AWAY, "MODIFIED", definition(served=False), False, id="version-off"),
        pytest.param(SERVED, "MODIFIED", definition(served=False), True, id="switched-off"),
        pytest.param(AWAY, "DELETED", definition(), False, id="was-away"),
        pytest.param(SERVED, "DELETED", definition("others.example.com"), False, id="not-watched"),
    ],
)
def test_watching_starts_anew_when_a_kind_comes_or_goes_and_only_then(
    before: frozenset[str], event: str | None, told: dict[str, Any], changed: bool
) -> None:
    found = definitions.Definitions([resources.FLAVORS, resources.PODS], before=before)
    found.tell(event, told)
    assert found.changed.is_set() is changed
