"""The configuration file: upstream's defaults, strictness and checks, and a section of our own."""

import re
import ssl
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

import lws_kueue
from lws_kueue.manager import command
from lws_kueue.manager.serve import tls
from lws_kueue.manager.settings import configuration, resolve
from lws_kueue.runtime.clusters import access

HEAD = {"apiVersion": "config.lws.x-k8s.io/v1alpha1", "kind": "Configuration"}


def text(**sections: Any) -> str:
    return yaml.safe_dump({**HEAD, **sections})


def refusal(content: str) -> str:
    with pytest.raises(configuration.ConfigurationError) as caught:
        configuration.parse(content)
    return str(caught.value)


@pytest.mark.row("UT-46")
@pytest.mark.parametrize("content", ["", text()], ids=["no file", "an empty one"])
def test_the_defaults_are_those_of_the_contract(content: str) -> None:
    found = configuration.parse(content) if content else configuration.Configuration()
    assert found.webhook.port == 9443
    assert found.webhook.host == ""
    assert found.metrics.bind_address == ":8443"
    assert found.health.health_probe_bind_address == ":8081"
    assert found.health.readiness_endpoint_name == "/readyz"
    assert found.health.liveness_endpoint_name == "/healthz"
    election = found.leader_election
    assert election.leader_elect is True
    assert (election.lease_duration, election.renew_deadline, election.retry_period) == (15, 10, 2)
    assert election.resource_lock == "leases"
    assert election.resource_name == "b8b2488c.x-k8s.io"
    assert found.internal_cert_management.enable is True
    assert found.internal_cert_management.webhook_service_name == "lws-webhook-service"
    assert found.internal_cert_management.webhook_secret_name == "lws-webhook-server-cert"
    assert found.gang_scheduling_management is None
    assert (found.client_connection.qps, found.client_connection.burst) == (500, 500)
    assert (found.tls.min_version, found.tls.cipher_suites) == ("", ())
    assert found.without_effect() == []


EVERYTHING = """
apiVersion: config.lws.x-k8s.io/v1alpha1
kind: Configuration
health:
  healthProbeBindAddress: ":38081"
  readinessEndpointName: ready
  livenessEndpointName: /live
metrics: {bindAddress: "127.0.0.1:38080"}
leaderElection:
  leaderElect: false
  leaseDuration: 30s
  renewDeadline: 20s
  retryPeriod: 1.5s
  resourceLock: leases
  resourceName: test-id
  resourceNamespace: elsewhere
webhook: {port: 9444, host: 0.0.0.0, certDir: /certs}
internalCertManagement: {enable: true, webhookServiceName: one, webhookSecretName: two.three}
gangSchedulingManagement: {schedulerProvider: volcano}
clientConnection: {qps: 50, burst: 100}
tls: {minVersion: VersionTLS12, cipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]}
lwsKueue:
  workers: 4
  statusInterval: 500ms
  resyncInterval: 10m
  kueueProbeInterval: 1m
  shortWorkloadNames: true
  manageJobsWithoutQueueName: true
  managedJobsNamespaceSelector: {matchLabels: {queued: "yes"}}
  labelKeysToCopy: [team]
  annotationKeysToCopy: [example.com/cost-centre]
"""


@pytest.mark.row("UT-46")
def test_every_field_of_a_file_is_read() -> None:
    found = configuration.parse(EVERYTHING)
    assert found.model_dump(exclude_defaults=True) == {
        "health": {
            "health_probe_bind_address": ":38081",
            "readiness_endpoint_name": "/ready",
            "liveness_endpoint_name": "/live",
        },
        "metrics": {"bind_address": "127.0.0.1:38080"},
        "leader_election": {
            "leader_elect": False,
            "lease_duration": 30.0,
            "renew_deadline": 20.0,
            "retry_period": 1.5,
            "resource_name": "test-id",
            "resource_namespace": "elsewhere",
        },
        "webhook": {"port": 9444, "host": "0.0.0.0", "cert_dir": "/certs"},
        "internal_cert_management": {
            "webhook_service_name": "one",
            "webhook_secret_name": "two.three",
        },
        "gang_scheduling_management": {"scheduler_provider": "volcano"},
        "client_connection": {"qps": 50.0, "burst": 100},
        "tls": {
            "min_version": "VersionTLS12",
            "cipher_suites": ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",),
        },
        "lws_kueue": {
            "workers": 4,
            "status_interval": 0.5,
            "resync_interval": 600.0,
            "kueue_probe_interval": 60.0,
            "short_workload_names": True,
            "manage_jobs_without_queue_name": True,
            "managed_jobs_namespace_selector": {"match_labels": {"queued": "yes"}},
            "label_keys_to_copy": ("team",),
            "annotation_keys_to_copy": ("example.com/cost-centre",),
        },
    }


# What people have with the Go manager: its release manifests, its Helm chart, and variations.
@pytest.mark.row("UT-46")
@pytest.mark.parametrize(
    "sections",
    [
        {"leaderElection": {"leaderElect": True}, "internalCertManagement": {"enable": True}},
        {"leaderElection": {"leaderElect": True}, "internalCertManagement": {"enable": False}},
        {"gangSchedulingManagement": {"schedulerProvider": "volcano"}},
        {"webhook": None, "metrics": None, "tls": None, "gangSchedulingManagement": None},
        {"webhook": {}, "metrics": {}, "health": {}, "leaderElection": {}, "clientConnection": {}},
        {"metrics": {"bindAddress": "0"}, "health": {"healthProbeBindAddress": "0"}},
        {"metrics": {"bindAddress": ""}, "health": {"healthProbeBindAddress": ""}},
        {"clientConnection": {"qps": 0.5, "burst": None}},
        {"tls": {"minVersion": "", "cipherSuites": []}},
    ],
    ids=str,
)
def test_a_file_of_the_go_manager_loads(sections: dict[str, Any]) -> None:
    found = configuration.parse(text(**sections))
    given = {name for name, value in sections.items() if value is not None}
    assert set(found.without_effect()) == given & {"webhook", "internalCertManagement"}


@pytest.mark.row("UT-46")
@pytest.mark.parametrize(
    ("sections", "field", "value"),
    [
        ({"metrics": {"bindAddress": ""}}, "metrics.bind_address", ":8443"),
        ({"metrics": {"bindAddress": None}}, "metrics.bind_address", ":8443"),
        ({"leaderElection": {"leaseDuration": "0s"}}, "leader_election.lease_duration", 15.0),
        (
            {"leaderElection": {"resourceName": ""}},
            "leader_election.resource_name",
            "b8b2488c.x-k8s.io",
        ),
        ({"leaderElection": {"leaderElect": None}}, "leader_election.leader_elect", True),
        ({"leaderElection": None}, "leader_election.leader_elect", True),
    ],
    ids=str,
)
def test_what_is_null_empty_or_zero_has_the_default(
    sections: dict[str, Any], field: str, value: object
) -> None:
    found: Any = configuration.parse(text(**sections))
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.row("UT-46")
@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"invalidField": "invalidValue"}, "invalidField: there is no such field"),
        ({"invalidField": None}, "invalidField: there is no such field"),
        ({"metrics": {"bindaddress": ":1"}}, "metrics.bindaddress: there is no such field"),
        ({"metrics": {"bind_address": ":1"}}, "metrics.bind_address: there is no such field"),
        ({"leaderElection": {"x": 1}}, "leaderElection.x: there is no such field"),
        ({"lwsKueue": {"worker": 4}}, "lwsKueue.worker: there is no such field"),
        ({"metrics": {"bindAddress": 0}}, "metrics.bindAddress: Input should be a valid string"),
        ({"metrics": {"bindAddress": "8443"}}, "metrics.bindAddress: '8443' is not HOST:PORT"),
        ({"metrics": [":8443"]}, "metrics: "),
        ({"metrics": "x"}, "metrics: "),
        ({"health": {"readinessEndpointName": "a b"}}, "health.readinessEndpointName: 'a b'"),
        ({"webhook": {"port": "9443"}}, "webhook.port: Input should be a valid integer"),
        ({"webhook": {"port": 9443.5}}, "webhook.port: Input should be a valid integer"),
        ({"webhook": {"port": True}}, "webhook.port: Input should be a valid integer"),
        ({"webhook": {"certDir": 1}}, "webhook.certDir: "),
        ({"leaderElection": {"leaderElect": "true"}}, "leaderElection.leaderElect: "),
        ({"leaderElection": {"leaderElect": 1}}, "leaderElection.leaderElect: "),
        ({"leaderElection": {"leaseDuration": 15}}, "leaderElection.leaseDuration: a duration"),
        ({"leaderElection": {"retryPeriod": "2 s"}}, "leaderElection.retryPeriod: '2 s'"),
        ({"leaderElection": {"resourceLock": "configmaps"}}, "leaderElection.resourceLock: "),
        ({"clientConnection": {"qps": "50"}}, "clientConnection.qps: "),
        ({"clientConnection": {"burst": 1.5}}, "clientConnection.burst: "),
        ({"clientConnection": {"burst": -1}}, "clientConnection.burst: "),
        ({"lwsKueue": {"workers": 0}}, "lwsKueue.workers: "),
        ({"lwsKueue": {"statusInterval": "0s"}}, "lwsKueue.statusInterval: "),
        ({"lwsKueue": {"statusInterval": 1}}, "lwsKueue.statusInterval: a duration"),
        ({"apiVersion": "config.lws.x-k8s.io/v1"}, "apiVersion: "),
        ({"apiVersion": ""}, "apiVersion: is required"),
        ({"kind": "ConfigMap"}, "kind: "),
        ({"kind": None}, "kind: is required"),
    ],
    ids=str,
)
def test_what_is_not_right_is_refused_with_its_path(sections: dict[str, Any], message: str) -> None:
    assert message in refusal(text(**sections))


@pytest.mark.row("UT-46")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "an object of kind Configuration"),
        ("- a", "an object of kind Configuration"),
        ("a: [", "not YAML"),
        ("a: !!python/object:x {}", "not YAML"),
        (text() + "---\n" + text(), "not YAML"),
        (text() + "1: x\n", "1: "),
        (text() + "metrics: {}\nmetrics: {}\n", "metrics: the key stands twice (line 4)"),
        (
            text() + "metrics:\n  bindAddress: ':1'\n  bindAddress: ':1'\n",
            "metrics.bindAddress: the key stands twice (line 5)",
        ),
    ],
)
def test_what_is_no_such_object_is_refused(content: str, message: str) -> None:
    assert message in refusal(content)


def test_all_faults_are_told_at_once() -> None:
    told = refusal(text(a=1, webhook={"port": "x"}, kind="X"))
    assert [part.split(":")[0] for part in told.split("; ")] == ["kind", "webhook.port", "a"]


@pytest.mark.row("UT-46")
def test_a_path_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    reasons = {
        tmp_path: "directory",
        tmp_path / "nowhere": "No such file",
        binary: "not UTF-8",
    }
    for path, reason in reasons.items():
        with pytest.raises(configuration.ConfigurationError, match=reason) as caught:
            configuration.load(path)
        assert str(path) in str(caught.value)


def test_a_file_is_named_with_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text(x=1))
    with pytest.raises(configuration.ConfigurationError, match=r"config.yaml.*x: there is no such"):
        configuration.load(path)


@pytest.mark.row("UT-47")
@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"enable": True, "webhookSecretName": ":)"}, "webhookSecretName: ':)'"),
        ({"enable": True, "webhookSecretName": ""}, "webhookSecretName: ''"),
        ({"webhookSecretName": "A"}, "webhookSecretName: 'A'"),
        ({"enable": True, "webhookServiceName": "0-invalid"}, "webhookServiceName: '0-invalid'"),
        ({"webhookServiceName": "a.b"}, "webhookServiceName: 'a.b'"),
        ({"webhookServiceName": "a" * 64}, "webhookServiceName: "),
        ({"enable": False, "webhookServiceName": "0-invalid"}, ""),
        ({"enable": False, "webhookSecretName": ":)"}, ""),
        ({"enable": True, "webhookServiceName": "webhook-svc", "webhookSecretName": "a.b"}, ""),
    ],
    ids=str,
)
def test_the_names_of_the_certificate_are_checked_while_it_is_managed(
    section: dict[str, Any], message: str
) -> None:
    content = text(internalCertManagement=section)
    if message:
        assert f"internalCertManagement.{message}" in refusal(content)
    else:
        assert configuration.parse(content).without_effect() == ["internalCertManagement"]


@pytest.mark.row("UT-47")
@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "is required"),
        ({"schedulerProvider": None}, "is required"),
        ({"schedulerProvider": ""}, "is required"),
        ({"schedulerProvider": "unsupported-scheduler"}, "should be 'volcano'"),
        ({"schedulerProvider": "volcano"}, ""),
    ],
    ids=str,
)
def test_a_gang_scheduler_is_named_where_its_section_stands(
    section: dict[str, Any], message: str
) -> None:
    content = text(gangSchedulingManagement=section)
    if message:
        found = refusal(content)
        assert "gangSchedulingManagement.schedulerProvider: " in found
        assert message in found
    else:
        gang = configuration.parse(content).gang_scheduling_management
        assert gang is not None
        assert gang.scheduler_provider == "volcano"


@pytest.mark.row("UT-48")
@pytest.mark.parametrize(
    ("section", "message"),
    [
        (None, ""),
        ({"minVersion": "VersionTLS12"}, ""),
        ({"minVersion": "VersionTLS13"}, ""),
        ({"minVersion": "InvalidVersion"}, "tls.minVersion: "),
        ({"minVersion": "VersionTLS10"}, "tls.minVersion: "),
        ({"minVersion": "VersionTLS11"}, "tls.minVersion: "),
        ({"cipherSuites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]}, ""),
        ({"cipherSuites": ["TLS_INVALID_CIPHER"]}, "tls.cipherSuites: not offered: TLS_INVALID"),
        ({"cipherSuites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}, "tls.cipherSuites: "),
        (
            {"minVersion": "VersionTLS13", "cipherSuites": ["TLS_AES_256_GCM_SHA384"]},
            "tls.cipherSuites: cannot be chosen",
        ),
        (
            {
                "minVersion": "VersionTLS12",
                "cipherSuites": ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
            },
            "",
        ),
    ],
    ids=str,
)
def test_tls_versions_and_suites_are_checked(section: dict[str, Any] | None, message: str) -> None:
    content = text(tls=section)
    if message:
        assert message in refusal(content)
        return
    found = configuration.parse(content).tls
    assert found.min_version == (section or {}).get("minVersion", "")
    assert list(found.cipher_suites) == (section or {}).get("cipherSuites", [])


@pytest.mark.row("UT-48")
@pytest.mark.parametrize(
    ("version", "suites", "least", "names"),
    [
        ("", (), ssl.TLSVersion.TLSv1_2, None),
        ("VersionTLS12", (), ssl.TLSVersion.TLSv1_2, None),
        ("VersionTLS13", (), ssl.TLSVersion.TLSv1_3, None),
        (
            "VersionTLS12",
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
            ssl.TLSVersion.TLSv1_2,
            {"ECDHE-RSA-AES128-GCM-SHA256"},
        ),
        # No suite of 1.2 is left, so 1.2 cannot be spoken.
        ("", ("TLS_AES_128_GCM_SHA256",), ssl.TLSVersion.TLSv1_3, None),
    ],
)
def test_a_server_offers_what_was_chosen(
    version: str, suites: tuple[str, ...], least: ssl.TLSVersion, names: set[str] | None
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.restrict(context, min_version=version, suites=suites)
    assert context.minimum_version == least
    if names is not None:
        offered = {c["name"] for c in context.get_ciphers() if c["protocol"] != "TLSv1.3"}
        assert offered == names


@pytest.mark.parametrize("suite", tls.TLS12_SUITES)
def test_the_ssl_library_knows_every_suite_that_may_be_named(suite: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(tls.TLS12_SUITES[suite])
    assert tls.TLS12_SUITES[suite] in {c["name"] for c in context.get_ciphers()}


def sections() -> dict[str, type[BaseModel]]:
    """The sections of the file by name."""
    found: dict[str, type[BaseModel]] = {}
    left: list[tuple[str, type[BaseModel]]] = [("", configuration.Configuration)]
    while left:
        name, section = left.pop()
        for field in section.model_fields.values():
            for kind in (field.annotation, *get_args(field.annotation)):
                if isinstance(kind, type) and issubclass(kind, configuration._Section):
                    left.append((f"{name}.{field.alias}".removeprefix("."), kind))
                    found[left[-1][0]] = kind
    return found


def test_the_documentation_has_every_field_and_every_argument() -> None:
    root = Path(lws_kueue.__file__).resolve().parents[1]
    document = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([^`\n]+)`", document))
    assert len(sections()) == 11
    for name, section in sections().items():
        for field in section.model_fields.values():
            if f"{name}.{field.alias}" in sections():
                continue
            assert {field.alias, f"{name}.{field.alias}"} & told, f"{name}.{field.alias}"
    arguments = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", document))
    options = {name for option in command.run_command.params for name in option.opts}
    assert options <= arguments
    assert arguments - options == {"--gang-scheduling", "--default-priority-class"}, "of install"


NAME = "kubernetes.io/metadata.name"


@pytest.mark.parametrize(
    ("selector", "namespace", "matches"),
    [
        (None, {NAME: "team"}, True),
        (None, {}, True),
        (None, {NAME: "kube-system"}, False),
        (None, {NAME: "kueue-system"}, False),
        ({"matchLabels": {"queued": "yes"}}, {"queued": "yes", "a": "b"}, True),
        ({"matchLabels": {"queued": "yes"}}, {"queued": "no"}, False),
        ({"matchLabels": {"queued": ""}}, {}, False),
        ({"matchLabels": {"queued": ""}}, {"queued": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        (
            {
                "matchLabels": {"queued": "yes"},
                "matchExpressions": [{"key": "off", "operator": "DoesNotExist", "values": None}],
            },
            {"queued": "yes", "off": ""},
            False,
        ),
        (
            {
                "matchExpressions": [
                    {"key": NAME, "operator": "In", "values": ["a", "b"]},
                    {"key": "off", "operator": "DoesNotExist"},
                ]
            },
            {NAME: "b"},
            True,
        ),
        (
            {"matchExpressions": [{"key": NAME, "operator": "In", "values": ["a", "b"]}]},
            {},
            False,
        ),
    ],
    ids=str,
)
def test_namespaces_are_selected_as_kubernetes_selects(
    selector: dict[str, Any] | None, namespace: dict[str, str], matches: bool
) -> None:
    found = configuration.parse(text(lwsKueue={"managedJobsNamespaceSelector": selector}))
    assert found.lws_kueue.managed_jobs_namespace_selector.matches(namespace) is matches


def expression(**fields: Any) -> dict[str, Any]:
    return {"managedJobsNamespaceSelector": {"matchExpressions": [fields]}}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"manageJobsWithoutQueueName": "yes"}, "manageJobsWithoutQueueName: "),
        ({"managedJobsNamespaceSelector": {}}, "may not match the namespace kube-system"),
        (
            expression(key=NAME, operator="NotIn", values=["kube-system"]),
            "managedJobsNamespaceSelector: it may not match the namespace kueue-system",
        ),
        (
            {"managedJobsNamespaceSelector": {"matchlabels": {"a": "b"}}},
            "managedJobsNamespaceSelector.matchlabels: there is no such field",
        ),
        (
            {"managedJobsNamespaceSelector": {"matchLabels": {"a b": "c"}}},
            "managedJobsNamespaceSelector.matchLabels: 'a b' is not the key of a label",
        ),
        (
            {"managedJobsNamespaceSelector": {"matchLabels": {"a": "-"}}},
            "managedJobsNamespaceSelector.matchLabels: '-' is not the value of a label",
        ),
        (
            {"managedJobsNamespaceSelector": {"matchLabels": {"a": True}}},
            "managedJobsNamespaceSelector.matchLabels.a: ",
        ),
        (
            expression(key="a", operator="In"),
            "matchExpressions.0.values: operator In needs at least one",
        ),
        (
            expression(key="a", operator="Exists", values=["b"]),
            "matchExpressions.0.values: operator Exists takes none",
        ),
        (expression(key="a", operator="Equals", values=["b"]), "matchExpressions.0.operator: "),
        (expression(key="A.b/c", operator="Exists"), "matchExpressions.0.key: 'A.b/c' is not"),
        (expression(operator="Exists"), "matchExpressions.0.key: is required"),
        (expression(key="a", operator="Exists", value="b"), "0.value: there is no such field"),
        ({"labelKeysToCopy": "team"}, "labelKeysToCopy: "),
        ({"labelKeysToCopy": ["team", "a/b/c"]}, "labelKeysToCopy.1: 'a/b/c' is not the key"),
        ({"annotationKeysToCopy": [""]}, "annotationKeysToCopy.0: '' is not the key"),
    ],
    ids=str,
)
def test_what_cannot_select_or_be_copied_is_refused_with_its_path(
    own: dict[str, Any], message: str
) -> None:
    refused = refusal(text(lwsKueue=own))
    assert refused.startswith("lwsKueue.")
    assert message in refused
    assert "; " not in refused


def test_worker_clusters_are_off_unless_somebody_switches_them_on() -> None:
    assert resolve.cluster_settings(configuration.Configuration().lws_kueue) is None
    # What is said of them beside that does not switch them on.
    own = configuration.parse(text(lwsKueue={"multiKueue": {"namespace": "a"}})).lws_kueue
    assert resolve.cluster_settings(own) is None
    own = configuration.parse(text(lwsKueue={"multiKueue": {"enabled": True}})).lws_kueue
    assert resolve.cluster_settings(own) == access.Settings(
        namespace="kueue-system", rate=50, at_once=100, interval=15, directory=None
    )


def test_what_is_said_of_worker_clusters_reaches_their_clients() -> None:
    said = {
        "enabled": True,
        "namespace": "kueue",
        "clientConnection": {"qps": -1, "burst": 0},
        "kubeconfigDirectory": "/etc/kubeconfigs",
    }
    own = configuration.parse(text(lwsKueue={"multiKueue": said, "kueueProbeInterval": "5s"}))
    assert resolve.cluster_settings(own.lws_kueue) == access.Settings(
        namespace="kueue", rate=None, at_once=10, interval=5, directory=Path("/etc/kubeconfigs")
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"enabled": "yes"}, "enabled: "),
        ({"namespace": "Kueue"}, "namespace: 'Kueue' is not the name of a namespace"),
        ({"namespace": "a" * 64}, "namespace: "),
        ({"kubeconfigDirectory": "etc"}, "kubeconfigDirectory: 'etc' is not an absolute path"),
        ({"clientConnection": {"burst": -1}}, "clientConnection.burst: "),
        ({"allowExec": True}, "allowExec: there is no such field"),
    ],
)
def test_what_is_wrong_about_worker_clusters_is_told_by_its_field(
    said: dict[str, Any], told: str
) -> None:
    refused = refusal(text(lwsKueue={"multiKueue": said}))
    assert refused.startswith(f"lwsKueue.multiKueue.{told}")
