"""A cluster on which the examples are applied as they are.

They stand in the namespace `default` and make queues with fixed names, as a reader would, so they
get a cluster that nothing else uses.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from lws_kueue_lab import sandbox

from tests.kit.live import harness
from tests.kit.live.kubectl import kubectl

# Kinds of other projects that examples use. Nobody serves them here: of their manifests is tested
# that they can be applied beside the sets, not that their fields are right.
OTHERS: Final = [
    ("keda.sh", "v1alpha1", "ScaledObject"),
    ("serving.kserve.io", "v1alpha2", "LLMInferenceService"),
]


def definition(group: str, version: str, kind: str) -> dict[str, Any]:
    """The smallest definition of a kind: whatever it may hold."""
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


class Kubectl:
    """The `kubectl` of the sandbox against one cluster."""

    def __init__(self, cluster: sandbox.Sandbox) -> None:
        self.cluster = cluster

    def __call__(self, *arguments: str) -> str:
        """Run it and return what it printed."""
        return kubectl(self.cluster, *arguments)


@pytest.fixture(scope="module")
def served(
    cluster: sandbox.Sandbox,
    backend: sandbox.Backend,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kubectl]:
    """A cluster with Kueue, the API and a running controller.

    The shared cluster is asked for first: where none can be had, that one says why.
    """
    if backend == "kubeconfig":
        pytest.skip("the examples use the namespace default, which belongs to the cluster's owner")
    # The places that examples of exclusive placement name.
    places = [
        {
            "cloud.google.com/gke-nodepool": f"pool-{node % 4}",
            "example.com/rack": f"rack-{node % 4}",
        }
        for node in range(8)
    ]
    options = sandbox.Options(nodes=8, node_labels=places, kueue="auto")
    with sandbox.open(backend, options=options) as own:
        harness.install(own)
        for group, version, kind in OTHERS:
            own.api.create(definition(group, version, kind))
        kubectl(own, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        process = harness.ControllerProcess(
            kubeconfig=own.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=tmp_path_factory.mktemp("examples") / "controller.log",
        )
        process.start()
        yield Kubectl(own)
        print(process.tail())
        process.stop()
