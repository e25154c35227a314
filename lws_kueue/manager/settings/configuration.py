"""The configuration file: what the Go manager takes, and one section of our own (lws-contract 9.2).

A file written for the Go manager loads unchanged. Decoding is as strict as there: a key that is not
known, a key that stands twice and a value of another type are errors. As there, too, a null or an
empty text is the same as leaving a field out.
"""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, alias_generators
from pydantic_core import ErrorDetails

from lws_kueue.api import selectors
from lws_kueue.controller.revision import history
from lws_kueue.manager.serve import tls
from lws_kueue.manager.settings import go_values

API_VERSION: Final = "config.lws.x-k8s.io/v1alpha1"
KIND: Final = "Configuration"

# Where sets without a queue are never held (kueue-contract 6.2), and the label that each namespace
# has with its own name.
SYSTEM_NAMESPACES: Final = ("kube-system", "kueue-system")
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"

# What client-go takes for 0.
_DEFAULT_QPS: Final = 5.0
_DEFAULT_BURST: Final = 10

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NAMESPACE: Final = "lws-kueue-system"

# RFC 1035 label and RFC 1123 subdomain, as Kubernetes reads them.
_LABEL_1035: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_1123: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
# A value of a label.
_ORIGIN: Final = r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_SUBDOMAIN_1123: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL_1123}(\.{_LABEL_1123})*")


class ConfigurationError(Exception):
    """What the process was told cannot be followed; the message names the field or the flag."""


def _seconds(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError("a duration is a text such as 15s")
    return go_values.duration(value)


def _bind_address(value: str) -> str:
    go_values.address(value)
    return value


def _endpoint(value: str) -> str:
    """Complete the path of an endpoint: both `readyz` and `/readyz` are in use."""
    if not re.fullmatch(r"/?[\w.~/-]+", value, re.ASCII):
        raise ValueError(f"{value!r} is not the path of a URL")
    return value if value.startswith("/") else f"/{value}"


def _namespace(value: str) -> str:
    if len(value) > 63 or not re.fullmatch(_LABEL_1123, value):
        raise ValueError(f"{value!r} is not the name of a namespace")
    return value


def _directory(value: str) -> str:
    if value and not Path(value).is_absolute():
        raise ValueError(f"{value!r} is not an absolute path")
    return value


def _spares_the_system(selector: selectors.LabelSelector) -> selectors.LabelSelector:
    """Refuse, as Kueue does, what would hold back the cluster's own pods, or Kueue itself."""
    for namespace in SYSTEM_NAMESPACES:
        if selector.matches({NAMESPACE_NAME: namespace}):
            raise ValueError(f"it may not match the namespace {namespace}")
    return selector


Duration = Annotated[float, pydantic.BeforeValidator(_seconds)]
PositiveDuration = Annotated[Duration, Field(gt=0)]
BindAddress = Annotated[str, pydantic.AfterValidator(_bind_address)]
Endpoint = Annotated[str, pydantic.AfterValidator(_endpoint)]
Key = Annotated[str, pydantic.AfterValidator(selectors.checked_key)]
NamespaceSelector = Annotated[selectors.LabelSelector, pydantic.AfterValidator(_spares_the_system)]

_OTHER_NAMESPACES: Final = selectors.LabelSelector.model_validate(
    {
        "matchExpressions": [
            {"key": NAMESPACE_NAME, "operator": "NotIn", "values": list(SYSTEM_NAMESPACES)}
        ]
    }
)


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=alias_generators.to_camel
    )

    # Whether an empty text is the same as none; where Go has a pointer, it is not.
    empty_is_absent: ClassVar[bool] = True

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_absent(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = {field.alias for field in cls.model_fields.values()}
        return {
            key: value
            for key, value in given.items()
            # What is not known stays, to be refused.
            if key not in known
            or not (value is None or (cls.empty_is_absent and value in ("", [])))
        }


class Webhook(_Section):
    """The webhook server of the Go manager; taken, and without effect."""

    port: int = 9443
    host: str = ""
    cert_dir: str = ""


class Metrics(_Section):
    """Where metrics are served; "0" for nowhere."""

    bind_address: BindAddress = ":8443"

    @property
    def address(self) -> str | None:
        """Where they are served, None for nowhere."""
        return _served(self.bind_address)


class Health(_Section):
    """Where probes are answered, and under which paths; "0" for nowhere."""

    health_probe_bind_address: BindAddress = ":8081"
    readiness_endpoint_name: Endpoint = "/readyz"
    liveness_endpoint_name: Endpoint = "/healthz"

    @property
    def address(self) -> str | None:
        """Where they are answered, None for nowhere."""
        return _served(self.health_probe_bind_address)


class LeaderElection(_Section):
    """The Lease by which one of several processes is chosen."""

    leader_elect: bool = True
    lease_duration: Duration = 15.0
    renew_deadline: Duration = 10.0
    retry_period: Duration = 2.0
    resource_lock: Literal["leases"] = "leases"
    resource_name: str = "b8b2488c.x-k8s.io"
    """The one of the Go manager, so the two exclude each other in one namespace."""
    resource_namespace: str = ""
    """"" for the one of the pod that this runs in."""

    @property
    def namespace(self) -> str:
        """Where the Lease is."""
        return self.resource_namespace or own_namespace()

    @pydantic.field_validator("lease_duration", "renew_deadline", "retry_period")
    @classmethod
    def _zero_is_absent(cls, value: float, info: pydantic.ValidationInfo) -> float:
        if value:
            return value
        default: float = cls.model_fields[info.field_name or ""].default
        return default


class Tls(_Section):
    """What the metrics server accepts; empty for the defaults of OpenSSL, from TLS 1.2 on."""

    min_version: str = ""
    cipher_suites: tuple[str, ...] = Field(default=(), strict=False)

    @pydantic.field_validator("min_version")
    @classmethod
    def _known_version(cls, value: str) -> str:
        if value not in tls.VERSIONS:
            raise ValueError(f"{value!r} is not one of {', '.join(tls.VERSIONS)}")
        return value

    @pydantic.field_validator("cipher_suites")
    @classmethod
    def _known_suites(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [s for s in value if s not in {*tls.TLS12_SUITES, *tls.TLS13_SUITES}]
        if unknown:
            known = ", ".join(tls.TLS12_SUITES)
            raise ValueError(f"not offered: {', '.join(unknown)}; known are {known}")
        return value

    @pydantic.field_validator("cipher_suites")
    @classmethod
    def _only_before_1_3(
        cls, value: tuple[str, ...], info: pydantic.ValidationInfo
    ) -> tuple[str, ...]:
        if value and info.data.get("min_version") == "VersionTLS13":
            raise ValueError("cannot be chosen when minVersion is VersionTLS13")
        return value


class InternalCertManagement(_Section):
    """The certificate of the Go manager's webhooks; taken, checked, and without effect."""

    empty_is_absent: ClassVar[bool] = False

    enable: bool = True
    webhook_service_name: str = "lws-webhook-service"
    webhook_secret_name: str = "lws-webhook-server-cert"  # noqa: S105 - a name

    @pydantic.field_validator("webhook_service_name")
    @classmethod
    def _service_name(cls, value: str, info: pydantic.ValidationInfo) -> str:
        if info.data.get("enable", True) and not _LABEL_1035.fullmatch(value):
            raise ValueError(f"{value!r} is not a DNS-1035 label")
        return value

    @pydantic.field_validator("webhook_secret_name")
    @classmethod
    def _secret_name(cls, value: str, info: pydantic.ValidationInfo) -> str:
        if info.data.get("enable", True) and not _SUBDOMAIN_1123.fullmatch(value):
            raise ValueError(f"{value!r} is not a DNS-1123 subdomain")
        return value


class GangSchedulingManagement(_Section):
    """Gang scheduling; where the section stands, the provider has to be named."""

    scheduler_provider: Literal["volcano"]


class ClientConnection(_Section):
    """How many requests a second may be sent, and how many at once.

    As for client-go, 0 is 5 requests a second or 10 at once, and a negative ``qps`` is no limit.
    """

    qps: float = Field(default=500.0, allow_inf_nan=False)
    burst: int = Field(default=500, ge=0)

    @property
    def rate(self) -> float | None:
        """Requests a second, None for as many as there are."""
        return None if self.qps < 0 else self.qps or _DEFAULT_QPS

    @property
    def at_once(self) -> int:
        """Requests that may be sent at once when there were none for a while."""
        return self.burst or _DEFAULT_BURST


class WorkerConnection(ClientConnection):
    """How many requests a second may be sent to each worker cluster, and how many at once."""

    qps: float = Field(default=50.0, allow_inf_nan=False)
    burst: int = Field(default=100, ge=0)


class MultiKueue(_Section):
    """Worker clusters; nothing of it is done unless it is ``enabled``."""

    enabled: bool = False
    namespace: Annotated[str, pydantic.AfterValidator(_namespace)] = "kueue-system"
    """Where the Secrets with kubeconfigs are: where Kueue's manager runs."""
    client_connection: WorkerConnection = WorkerConnection()
    kubeconfig_directory: Annotated[str, pydantic.AfterValidator(_directory)] = ""
    """Below which files may be that kubeconfigs name; "" for nowhere."""
    origin: Annotated[str, pydantic.Field(max_length=63, pattern=_ORIGIN)] = ""
    """The label value on all that is made in workers; "" for one made of this cluster's UID."""
    worker_lost_timeout: PositiveDuration = 900.0
    """After so long without an answer the groups of a cluster start elsewhere."""
    mode: Literal["Incremental", "AllAtOnce"] = "Incremental"
    """Whether a group is offered to one cluster after the other, or to all at once."""
    order: Literal["Spread", "ConfigOrder"] = "Spread"
    """Which cluster is offered a group first: that with the least of ours, or the first listed."""
    step_size: int = Field(default=1, ge=1, le=20)
    """By how many clusters an offer is widened."""
    round_interval: PositiveDuration = 10.0
    """After so long an offer is widened although nobody has said no."""
    drop_labels: tuple[Key, ...] = Field(default=(), strict=False)
    """Labels of a set that are not copied to workers."""
    drop_annotations: tuple[Key, ...] = Field(default=(), strict=False)
    """Annotations of a set that are not copied to workers."""


class Own(_Section):
    """What the Go manager has no setting for."""

    workers: int = Field(default=8, ge=1, le=64)
    """How many sets are worked on at the same time."""
    status_interval: PositiveDuration = 1.0
    """At most one status write of a set in this time."""
    resync_interval: PositiveDuration = 300.0
    """How often everything is listed afresh, to notice deletions that a watch missed."""
    kueue_probe_interval: PositiveDuration = 15.0
    """How often to look whether Kueue appeared, left, or changed its version."""
    short_workload_names: bool = False
    """Whether Kueue runs with ShortWorkloadNames (names of at most 63 characters)."""
    manage_jobs_without_queue_name: bool = False
    """Whether sets without a queue wait for Kueue as well."""
    managed_jobs_namespace_selector: NamespaceSelector = _OTHER_NAMESPACES
    """In which namespaces they do."""
    max_pending_workloads: int = Field(default=500, ge=1)
    """For how many groups of one set Workloads may wait in a queue at a time."""
    injected_containers: Literal["Hold", "Warn"] = "Hold"
    """What becomes of a pod that exceeds its admission only by containers that webhooks inject."""
    revision_history_limit: int = Field(default=history.DEFAULT_LIMIT, ge=0)
    """How many revisions of a set are kept that no group is at."""
    label_keys_to_copy: tuple[Key, ...] = Field(default=(), strict=False)
    """Labels of a set that its Workloads get."""
    annotation_keys_to_copy: tuple[Key, ...] = Field(default=(), strict=False)
    """Annotations of a set that its Workloads get."""
    multi_kueue: MultiKueue = MultiKueue()
    """Worker clusters, by AdmissionChecks of lws-kueue.dev/multikueue."""

    @property
    def unlabelled(self) -> selectors.LabelSelector | None:
        """The namespaces in which sets without a queue are taken, None for nowhere."""
        return self.managed_jobs_namespace_selector if self.manage_jobs_without_queue_name else None


class Configuration(_Section):
    """The whole file."""

    api_version: Literal["config.lws.x-k8s.io/v1alpha1"] = API_VERSION
    kind: Literal["Configuration"] = KIND
    webhook: Webhook = Webhook()
    metrics: Metrics = Metrics()
    health: Health = Health()
    leader_election: LeaderElection = LeaderElection()
    tls: Tls = Tls()
    internal_cert_management: InternalCertManagement = InternalCertManagement()
    gang_scheduling_management: GangSchedulingManagement | None = None
    client_connection: ClientConnection = ClientConnection()
    lws_kueue: Own = Own()

    def without_effect(self) -> list[str]:
        """Return the sections that stand in the file and change nothing here."""
        given = {"webhook", "internal_cert_management"} & self.model_fields_set
        return sorted(alias_generators.to_camel(name) for name in given)


def _served(address: str) -> str | None:
    return None if address == "0" else address


def own_namespace(file: Path = _NAMESPACE_FILE) -> str:
    """Return the namespace of the pod that this runs in, or the one of an installation."""
    try:
        return file.read_text(encoding="utf-8").strip() or _NAMESPACE
    except OSError:
        return _NAMESPACE


def load(path: Path) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigurationError: it cannot be read, or is not what it should be, and where.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"cannot read the configuration {path}: {reason}") from error
    try:
        return parse(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"the configuration {path} is not valid: {error}") from error


def parse(text: str) -> Configuration:
    """Decode the text of a configuration file.

    Raises:
        ConfigurationError: with each field that is wrong.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        problems = _duplicates(node)
        content = None if problems or node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"it is not YAML: {error}") from error
    finally:
        loader.dispose()
    if problems:
        raise ConfigurationError("; ".join(problems))
    if not isinstance(content, dict):
        raise ConfigurationError(f"it has to be an object of kind {KIND}")
    # They have defaults only for a process that has no file.
    problems = [f"{key}: is required" for key in ("apiVersion", "kind") if not content.get(key)]
    try:
        found = Configuration.model_validate(content)
    except pydantic.ValidationError as error:
        problems += explain(error)
    if problems:
        raise ConfigurationError("; ".join(problems))
    return found


def _duplicates(node: yaml.Node | None, at: tuple[str, ...] = ()) -> list[str]:
    """Find keys that stand twice in one mapping: YAML forbids them, PyYAML takes the last."""
    if isinstance(node, yaml.SequenceNode):
        return [p for n, item in enumerate(node.value) for p in _duplicates(item, (*at, str(n)))]
    if not isinstance(node, yaml.MappingNode):
        return []
    problems: list[str] = []
    seen: set[str] = set()
    for key, value in node.value:
        path = (*at, str(key.value))
        if key.value in seen:
            line = key.start_mark.line + 1
            problems.append(f"{'.'.join(path)}: the key stands twice (line {line})")
        seen.add(key.value)
        problems += _duplicates(value, path)
    return problems


def explain(error: pydantic.ValidationError) -> list[str]:
    """Return one line for each fault, beginning with the path of its field."""
    return [f"{'.'.join(map(str, fault['loc']))}: {_words(fault)}" for fault in error.errors()]


def _words(fault: ErrorDetails) -> str:
    kinds = {"extra_forbidden": "there is no such field", "missing": "is required"}
    return kinds.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
