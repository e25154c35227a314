"""Marks by which tools know their objects: they stay on the set, and do not reach its children.

A child with such a mark would be taken for something that left the manifest, and be deleted.
"""

import copy
from typing import Any

import pytest

from e2e.clients.conftest import Serve
from lws_kueue.api import names
from tests.kit.live.running import NAME, Running

MARKS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "kubectl": ({}, {"kubectl.kubernetes.io/last-applied-configuration": "{}\n"}),
    "applyset": ({"applyset.kubernetes.io/part-of": "applyset-abc-v1"}, {}),
    "argocd": (
        {"argocd.argoproj.io/instance": "models"},
        {
            "argocd.argoproj.io/tracking-id": "models:leaderworkerset.x-k8s.io/LeaderWorkerSet:n/s",
            "argocd.argoproj.io/sync-wave": "2",
            "argocd.argoproj.io/sync-options": "Prune=false",
        },
    ),
    "flux": (
        {
            "kustomize.toolkit.fluxcd.io/name": "models",
            "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            "helm.toolkit.fluxcd.io/name": "models",
            "helm.toolkit.fluxcd.io/namespace": "flux-system",
        },
        {"kustomize.toolkit.fluxcd.io/prune": "disabled"},
    ),
    "helm": (
        {},
        {
            "meta.helm.sh/release-name": "models",
            "meta.helm.sh/release-namespace": "models",
        },
    ),
    "kustomize": (
        {},
        {
            "config.kubernetes.io/owning-inventory": "inventory-1",
            "config.kubernetes.io/origin": "path: set.yaml\n",
            "internal.config.kubernetes.io/previousNames": "x",
        },
    ),
}
# By labels alone, by annotations, and by both.
FEW = {"argocd"}
IDS = {tool: f"GIT-{number}" for number, tool in enumerate(MARKS, start=24)}


def marked(given: dict[str, Any], tool: str) -> dict[str, Any]:
    """The manifest as this tool writes it."""
    labels, annotations = MARKS[tool]
    obj = copy.deepcopy(given)
    meta = obj["metadata"]
    meta["labels"] = meta.get("labels", {}) | labels
    meta["annotations"] = meta.get("annotations", {}) | annotations
    return obj


def on_children(served: Running, tool: str) -> list[str]:
    """Where marks of a tool are that should not be there."""
    labels, annotations = MARKS[tool]
    found = []
    for child in served.children():
        template = child.get("spec", {}).get("template", {}).get("metadata", {})
        for meta in (child["metadata"], template):
            keys = {*(meta.get("labels") or {}), *(meta.get("annotations") or {})}
            for key in keys & {*labels, *annotations}:
                found.append(f"{child['kind']} {child['metadata']['name']}: {key}")
    return found


@pytest.mark.row("P1")
@pytest.mark.parametrize(
    "tool",
    [
        pytest.param(
            tool, marks=[pytest.mark.row(row), *(() if tool in FEW else (pytest.mark.long,))]
        )
        for tool, row in IDS.items()
    ],
)
def test_marks_stay_on_the_set_and_do_not_reach_what_is_made_for_it(
    served: Running, tool: str
) -> None:
    # First of a set that runs already, as when an application is given to the tool later.
    labels, annotations = MARKS[tool]
    served.apply(marked(served.given, tool), manager=tool, force=True)
    served.goes_on()
    meta = served.get()["metadata"]
    assert labels.items() <= meta["labels"].items()
    assert annotations.keys() <= meta["annotations"].keys()
    assert on_children(served, tool) == []
    # Then of groups that come later.
    served.kubectl("scale", f"lws/{NAME}", "--replicas=3")
    served.goes_on(groups=3)
    assert on_children(served, tool) == []


@pytest.mark.long
@pytest.mark.row("GIT-30")
def test_labels_that_change_with_every_release_restart_nothing(serve: Serve) -> None:
    served = serve()
    for version in ("1.0.0", "1.0.1"):
        obj = copy.deepcopy(served.given)
        obj["metadata"]["labels"] |= {
            "helm.sh/chart": f"models-{version}",
            "app.kubernetes.io/version": version,
            "app.kubernetes.io/managed-by": "Helm",
        }
        obj["metadata"]["annotations"] = {"example.com/git-commit": version}
        served.apply(obj, manager="helm", force=True)
        served.goes_on()
    assert served.get()["metadata"]["labels"]["helm.sh/chart"] == "models-1.0.1"
    assert names.QUEUE_NAME not in served.pods()[f"{NAME}-0"]["metadata"]["labels"]
