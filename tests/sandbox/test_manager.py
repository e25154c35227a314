"""What a manager is given before it starts: manifests and certificate, and who names it."""

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import manager, manager_certificate, manager_manifests

Object = dict[str, Any]

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DEFINITION = "workloads.kueue.x-k8s.io"
VARIABLES = manager.Variables(binary="THE_BIN", manifests="THE_MANIFESTS")


def service(path: str) -> Object:
    return {"service": {"name": "kueue-webhook-service", "namespace": "kueue-system", "path": path}}


def workload_crd() -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "workloads.kueue.x-k8s.io"},
        "spec": {
            "conversion": {
                "strategy": "Webhook",
                "webhook": {
                    "clientConfig": service("/convert"),
                    "conversionReviewVersions": ["v1"],
                },
            }
        },
    }


def plain_crd() -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "topologies.kueue.x-k8s.io"},
        "spec": {"conversion": {"strategy": "None"}},
    }


def webhooks(kind: str) -> Object:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": f"kueue-{kind.lower()}-webhook-configuration"},
        "webhooks": [
            {"name": "one", "clientConfig": service("/one")},
            {"name": "two", "clientConfig": service("/two")},
        ],
    }


def write(directory: Path, **files: list[Object]) -> Path:
    for name, objects in files.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
    return directory


def test_definitions_are_separated_from_what_needs_them(tmp_path: Path) -> None:
    write(tmp_path, a=[webhooks("Mutating"), webhooks("Validating")], b=[workload_crd()])
    manifests = manager_manifests.load(tmp_path, definition=DEFINITION)
    assert [obj["metadata"]["name"] for obj in manifests.definitions] == [
        "workloads.kueue.x-k8s.io"
    ]
    assert manifests.rest == manifests.webhook_configurations
    assert manifests.service.host == "kueue-webhook-service.kueue-system.svc"


def test_what_only_runs_a_manager_inside_a_cluster_is_left_out(tmp_path: Path) -> None:
    inside = [
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}}
        for kind in ("Deployment", "Service", "APIService", "Secret")
    ]
    policy = {"apiVersion": "v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": "x"}}
    write(tmp_path, release=[*inside, policy, workload_crd(), webhooks("Validating")])
    kinds = [obj["kind"] for obj in manager_manifests.load(tmp_path, definition=DEFINITION).rest]
    assert kinds == ["MutatingAdmissionPolicy", "ValidatingWebhookConfiguration"]


def test_every_webhook_is_pointed_at_the_manager(tmp_path: Path) -> None:
    write(tmp_path, all=[workload_crd(), plain_crd(), webhooks("Mutating")])
    manifests = manager_manifests.load(tmp_path, definition=DEFINITION)
    attached = manager_manifests.attach(
        manifests, origin="https://127.0.0.1:1234", ca_bundle="Q0E="
    )

    workloads, topologies = attached.definitions
    assert workloads["spec"]["conversion"]["webhook"]["clientConfig"] == {
        "url": "https://127.0.0.1:1234/convert",
        "caBundle": "Q0E=",
    }
    assert topologies == plain_crd()
    assert [webhook["clientConfig"] for webhook in attached.rest[0]["webhooks"]] == [
        {"url": "https://127.0.0.1:1234/one", "caBundle": "Q0E="},
        {"url": "https://127.0.0.1:1234/two", "caBundle": "Q0E="},
    ]
    # What was loaded is left as it was, for the next sandbox.
    assert manifests.definitions[0] == workload_crd()
    assert manifests.rest[0] == webhooks("Mutating")


@pytest.mark.parametrize(
    ("objects", "complaint"),
    [
        pytest.param([webhooks("Mutating")], "no CRD workloads.kueue.x-k8s.io", id="no-crd"),
        pytest.param([workload_crd()], "no webhook configuration", id="no-webhooks"),
        pytest.param([workload_crd(), {"a": 1}], "no Kubernetes object", id="no-object"),
    ],
)
def test_an_incomplete_directory_is_refused(
    tmp_path: Path, objects: list[Object], complaint: str
) -> None:
    write(tmp_path, all=objects)
    with pytest.raises(manager_manifests.ManifestError, match=complaint):
        manager_manifests.load(tmp_path, definition=DEFINITION)


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(manager_manifests.ManifestError, match=r"broken\.yaml is not YAML"):
        manager_manifests.load(tmp_path, definition=DEFINITION)


def test_the_certificate_is_one_that_a_rotation_keeps() -> None:
    host = "kueue-webhook-service.kueue-system.svc"
    made = manager_certificate.make(host, authority="kueue-ca", now=NOW)
    authority = x509.load_pem_x509_certificate(made.ca_certificate)
    server = x509.load_pem_x509_certificate(made.certificate)

    server.verify_directly_issued_by(authority)
    assert alternative_names(authority) == ["kueue-ca"]
    assert alternative_names(server) == [host, "127.0.0.1"]
    in_three_months = NOW + datetime.timedelta(days=91)
    assert authority.not_valid_after_utc > in_three_months
    assert server.not_valid_after_utc > in_three_months
    # Its rotation cannot read a key of another kind.
    assert b"BEGIN RSA PRIVATE KEY" in made.ca_key
    key = serialization.load_pem_private_key(made.ca_key, password=None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.public_key() == authority.public_key()


def alternative_names(certificate: x509.Certificate) -> list[str]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value]


def test_an_environment_without_the_variables_names_no_manager() -> None:
    assert manager.from_environment(VARIABLES, {}) is None


def test_an_environment_with_both_variables_names_a_manager(tmp_path: Path) -> None:
    binary = tmp_path / "manager"
    binary.touch(mode=0o755)
    source = manager.from_environment(
        VARIABLES, {"THE_BIN": str(binary), "THE_MANIFESTS": str(tmp_path)}
    )
    assert source == manager.Source(binary=binary, manifests=tmp_path)


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        pytest.param({"THE_BIN": "/bin/sh"}, "set both of", id="binary-alone"),
        pytest.param({"THE_MANIFESTS": "/"}, "set both of", id="manifests-alone"),
        pytest.param(
            {"THE_BIN": "/bin", "THE_MANIFESTS": "/"},
            "/bin is not an executable file",
            id="binary-is-a-directory",
        ),
        pytest.param(
            {"THE_BIN": "/bin/sh", "THE_MANIFESTS": "/bin/sh"},
            "/bin/sh is not a directory",
            id="manifests-are-a-file",
        ),
    ],
)
def test_a_manager_that_is_named_wrongly_is_never_replaced_silently(
    environment: dict[str, str], complaint: str
) -> None:
    with pytest.raises(sandbox.SandboxError, match=complaint):
        manager.from_environment(VARIABLES, environment)
