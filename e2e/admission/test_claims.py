"""Claims of a stored set: what no StatefulSet can change, no set can (lws-contract 3.6, 8.3)."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.kit.admission import support

Change = Mapping[str, Any]


def claim(name: str = "data", *, labels: Mapping[str, str] | None = None, **spec: Any) -> Change:
    """Return a claim of one gibibyte, with changes of its spec."""
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": support.merged(base, spec),
    }


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(None, id="gone"),
        pytest.param([claim(), claim("more")], id="one-more"),
        pytest.param([claim("other")], id="name"),
        pytest.param([claim(accessModes=["ReadWriteMany"])], id="access-modes"),
        pytest.param([claim(storageClassName="fast")], id="class"),
        # Not the same as none: "" asks for a volume of no class, none for the default class.
        pytest.param([claim(storageClassName="")], id="no-class"),
        pytest.param([claim(volumeMode="Block")], id="mode"),
        pytest.param([claim(resources={"requests": {"storage": "2Gi"}})], id="requests"),
        pytest.param([claim(resources={"limits": {"storage": "2Gi"}})], id="limits"),
    ],
)
def test_claims_cannot_change_because_those_of_a_statefulset_cannot(
    sets: support.Sets, claims: Any
) -> None:
    sets.store(sets.build(support.template(volumeClaimTemplates=[claim()])))
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": support.template(volumeClaimTemplates=claims)})
    assert "spec.leaderWorkerTemplate.volumeClaimTemplates: cannot be changed" in refusal.message


def test_claims_cannot_be_added_to_a_set_that_exists(sets: support.Sets) -> None:
    sets.store(sets.build())
    with support.refused() as refusal:
        sets.update("test-sample", {"spec": support.template(volumeClaimTemplates=[claim()])})
    assert "spec.leaderWorkerTemplate.volumeClaimTemplates: cannot be changed" in refusal.message


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            {"volumeClaimTemplates": [claim(resources={"requests": {"storage": "1024Mi"}})]},
            id="another-spelling",
        ),
        pytest.param({"volumeClaimTemplates": [claim(volumeMode="Filesystem")]}, id="default-mode"),
        # No StatefulSet gets these.
        pytest.param({"volumeClaimTemplates": [claim(labels={"a": "b"})]}, id="labels"),
        pytest.param(
            {
                "persistentVolumeClaimRetentionPolicy": {
                    "whenDeleted": "Delete",
                    "whenScaled": "Retain",
                }
            },
            id="retention-policy",
        ),
    ],
)
def test_what_a_statefulset_may_change_about_claims_a_set_may(
    sets: support.Sets, change: dict[str, Any]
) -> None:
    sets.store(sets.build(support.template(volumeClaimTemplates=[claim()])))
    after = sets.update("test-sample", {"spec": support.template(**change)})
    template = after["spec"]["leaderWorkerTemplate"]
    assert {key: template[key] for key in change} == change
