"""Volcano's kind PodGroup, as far as the tests need it, and the composite check ACC-7 on it.

The definition is one of our own: it has the fields that the contract names and nothing of what
Volcano does with them (lws-contract 3.7 and 6.0).
"""

from typing import Any

from lws_kueue_lab import sandbox

from lws_kueue.api import names
from tests.kit.lws import checks
from tests.kit.lws.sample import Object, Sample, group_of

POD_GROUP = (names.VOLCANO_API_VERSION, "PodGroup")

_GROUP, _, _VERSION = names.VOLCANO_API_VERSION.partition("/")

# The kubectl of the tests can print them, and the API server refuses what is misspelled.
_SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "minMember": {"type": "integer", "format": "int32"},
        "minResources": {
            "type": "object",
            "additionalProperties": {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
            },
        },
        "queue": {"type": "string"},
    },
}

DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"podgroups.{_GROUP}"},
    "spec": {
        "group": _GROUP,
        "scope": "Namespaced",
        "names": {"kind": "PodGroup", "plural": "podgroups", "singular": "podgroup"},
        "versions": [
            {
                "name": _VERSION,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC}}},
            }
        ],
    },
}


def define(cluster: sandbox.Sandbox) -> None:
    """Let a cluster serve PodGroups, as an installation of Volcano would."""
    cluster.api.apply(DEFINITION)
    cluster.api.wait_for(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        DEFINITION["metadata"]["name"],
        lambda found: any(
            (condition["type"], condition["status"]) == ("Established", "True")
            for condition in ((found or {}).get("status") or {}).get("conditions") or ()
        ),
        what="PodGroups are served",
    )


def of_set(sample: Sample) -> dict[str, Object]:
    """Return the PodGroups of a set by name."""
    found = sample.cluster.api.list(
        *POD_GROUP,
        namespace=sample.namespace,
        label_selector=f"{names.SET_NAME}={sample.name}",
    )
    return {obj["metadata"]["name"]: obj for obj in found}


def check(sample: Sample, *, members: int, resources: dict[str, str]) -> None:
    """ACC-7: every group has its PodGroup at the current revision, and its pods name it."""
    obj = sample.get()
    key = checks.revision_key(obj)
    current = {
        name: found
        for name, found in of_set(sample).items()
        if found["metadata"]["labels"][names.REVISION_KEY] == key
    }
    groups = range(obj["spec"]["replicas"])
    assert current.keys() == {f"{sample.name}-{group}-{key}" for group in groups}
    for group in groups:
        name = f"{sample.name}-{group}-{key}"
        check_one(current[name], leader=sample.leader(group))
        assert current[name]["spec"]["minMember"] == members
        assert current[name]["spec"]["minResources"] == resources
    for name, pod in sample.pods().items():
        labels, annotations = (pod["metadata"][field] for field in ("labels", "annotations"))
        wanted = f"{sample.name}-{labels[names.GROUP_INDEX]}-{key}"
        assert annotations[names.POD_GROUP] == wanted, name


def check_one(found: Object, *, leader: Object) -> None:
    """A PodGroup belongs to a leader pod, and only to it, and says to which group."""
    meta, pod = found["metadata"], leader["metadata"]
    assert meta["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["name"],
            "uid": pod["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert meta["labels"][names.GROUP_INDEX] == str(group_of(pod["name"]))
