"""What is installed, and somebody removes or exchanges while the controller runs."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from lws_kueue_lab import sandbox

import lws_kueue
from e2e.conftest import own_cluster
from lws_kueue.api import names
from lws_kueue.install import in_force
from tests.kit import polling
from tests.kit.live import harness

BINDING = (
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "lws-kueue-guard-pods",
)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def readiness(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            status: int = answer.status
            return status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Watching:
    """A controller that looks at what is installed every second."""

    def __init__(self, cluster: sandbox.Sandbox, folder: Path) -> None:
        self.cluster = cluster
        self._port = free_port()
        settings = folder / "settings.yaml"
        settings.write_text(
            "apiVersion: config.lws.x-k8s.io/v1alpha1\nkind: Configuration\n"
            "lwsKueue:\n  kueueProbeInterval: 1s\n"
        )
        self.process = harness.ControllerProcess(
            kubeconfig=cluster.service_account_kubeconfig(*harness.SERVICE_ACCOUNT),
            log=folder / "controller.log",
            arguments=(
                f"--health-probe-bind-address=127.0.0.1:{self._port}",
                f"--config={settings}",
            ),
        )

    def answers(self, status: int, text: str = "") -> None:
        """Wait until the readiness probe gets such an answer."""

        def told() -> None:
            found = readiness(self._port)
            assert found[0] == status, self.process.tail()
            assert text in found[1]

        polling.trying(timeout=60, every=0.2)(told)


@pytest.fixture(scope="module")
def watching(
    backend: sandbox.Backend, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watching]:
    """It runs in a cluster of its own, because its policies are taken away."""
    with own_cluster(backend, sandbox.Options(nodes=1)) as own:
        harness.install(own)
        found = Watching(own, tmp_path_factory.mktemp("policies"))
        found.process.start()
        yield found
        found.process.kill()


def test_a_policy_that_is_unbound_is_told_and_makes_the_controller_unready_until_it_is_back(
    watching: Watching,
) -> None:
    watching.answers(200)
    watching.cluster.api.delete(*BINDING)
    missing = "ValidatingAdmissionPolicyBinding lws-kueue-guard-pods is missing"
    watching.process.wait_log(missing)
    watching.answers(503, missing)
    harness.install(watching.cluster)
    watching.answers(200, "ok")
    assert "All admission policies are in force again" in watching.process.tail()


def test_what_another_version_has_installed_is_told_with_both_versions_and_what_to_run(
    watching: Watching,
) -> None:
    watching.answers(200)
    api = watching.cluster.api
    mark = {"metadata": {"annotations": {names.VERSION: "0.0.9"}}}
    policy = (BINDING[0], "ValidatingAdmissionPolicy", BINDING[2])
    api.patch(*policy, body={**mark, "spec": {"failurePolicy": "Ignore"}})
    definition = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", in_force.DEFINITION)
    # The same content under another version is nothing to tell.
    api.patch(*definition, body=mark)
    told = (
        f"Policies of version 0.0.9, controller of version {lws_kueue.__version__} (they differ in"
        " ValidatingAdmissionPolicy lws-kueue-guard-pods)"
    )
    watching.process.wait_log(told)
    watching.answers(503, told)
    watching.answers(503, "Run `lws-kueue install`")
    harness.install(watching.cluster)
    watching.answers(200, "ok")


def test_a_definition_of_another_version_is_told_as_well(watching: Watching) -> None:
    watching.answers(200)
    api = watching.cluster.api
    definition = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", in_force.DEFINITION)
    path = "/spec/versions/0/additionalPrinterColumns/0"
    version = names.VERSION.replace("/", "~1")
    body = [
        {"op": "remove", "path": path},
        {"op": "replace", "path": f"/metadata/annotations/{version}", "value": "9.0.0"},
    ]
    api.patch(*definition, body=body, patch_type="json")
    told = f"they differ in CustomResourceDefinition {in_force.DEFINITION})"
    watching.answers(503, told)
    harness.install(watching.cluster)
    watching.answers(200, "ok")
