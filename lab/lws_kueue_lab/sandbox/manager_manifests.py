"""What a manager needs in the API server, read from a directory of plain YAML.

A released manager runs in a pod behind a Service. In the sandbox it is a process on loopback,
so every reference to that Service (admission webhooks, CRD conversion) is rewritten to an
address, and what only serves to run it inside a cluster is left out. This module does no
more than read and rewrite; `manager` applies the result.
"""

import copy
import dataclasses
from pathlib import Path
from typing import Any, Final

import yaml

Object = dict[str, Any]

_DEFINITION: Final = "CustomResourceDefinition"
_WEBHOOK_KINDS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")

# These run, expose or authorise the manager as a pod. It is neither a pod nor short of
# permissions here, and an APIService without a backend would break discovery and with it
# the deletion of namespaces.
_IN_CLUSTER_KINDS: Final = frozenset(
    {"APIService", "Deployment", "Namespace", "Secret", "Service", "ServiceAccount"}
)


class ManifestError(Exception):
    """The directory does not hold what a manager needs; the message says what."""


@dataclasses.dataclass(frozen=True, slots=True)
class WebhookService:
    """The Service by which the manifests reach the manager.

    The manager derives from it the host name on its certificate and the names of its
    webhook configurations, so both have to be told the same.
    """

    namespace: str
    name: str

    @property
    def host(self) -> str:
        """The DNS name that has to be on the certificate."""
        return f"{self.name}.{self.namespace}.svc"


@dataclasses.dataclass(frozen=True, slots=True)
class Manifests:
    """The objects to apply, in order: `definitions` (CRDs) first, then `rest`."""

    definitions: tuple[Object, ...]
    rest: tuple[Object, ...]
    service: WebhookService

    @property
    def webhook_configurations(self) -> tuple[Object, ...]:
        """The admission webhook configurations among `rest`."""
        return tuple(obj for obj in self.rest if obj["kind"] in _WEBHOOK_KINDS)


def load(directory: Path, *, definition: str) -> Manifests:
    """Read every `*.yaml` and `*.yml` file of `directory`.

    Raises ManifestError if the directory, the CRD that is called `definition` or the webhook
    configurations are missing.
    """
    if not directory.is_dir():
        raise ManifestError(f"{directory} is not a directory")
    objects = [obj for obj in _read(directory) if obj["kind"] not in _IN_CLUSTER_KINDS]
    definitions = tuple(obj for obj in objects if obj["kind"] == _DEFINITION)
    rest = tuple(obj for obj in objects if obj["kind"] != _DEFINITION)
    if not any(obj["metadata"]["name"] == definition for obj in definitions):
        raise ManifestError(f"{directory} holds no CRD {definition}")
    return Manifests(definitions=definitions, rest=rest, service=_service(directory, rest))


def attach(manifests: Manifests, *, origin: str, ca_bundle: str) -> Manifests:
    """Point every webhook at `origin` (https://HOST:PORT), trusted by `ca_bundle` (base64 PEM)."""

    def client_config(config: Object) -> None:
        service = config.pop("service", None)
        if service is not None:
            config["url"] = origin + str(service.get("path", "/"))
        config["caBundle"] = ca_bundle

    definitions = copy.deepcopy(manifests.definitions)
    for definition in definitions:
        conversion = definition["spec"].get("conversion") or {}
        if conversion.get("strategy") == "Webhook":
            client_config(conversion["webhook"]["clientConfig"])
    rest = copy.deepcopy(manifests.rest)
    attached = dataclasses.replace(manifests, definitions=definitions, rest=rest)
    for configuration in attached.webhook_configurations:
        for webhook in configuration["webhooks"]:
            client_config(webhook["clientConfig"])
    return attached


def _read(directory: Path) -> list[Object]:
    objects: list[Object] = []
    for path in sorted(directory.iterdir()):
        if path.suffix not in (".yaml", ".yml"):
            continue
        try:
            documents = list(yaml.load_all(path.read_text(), Loader=_LOADER))
        except yaml.YAMLError as error:
            raise ManifestError(f"{path} is not YAML: {error}") from error
        for document in documents:
            if document is None:
                continue
            if not isinstance(document, dict) or "kind" not in document:
                raise ManifestError(f"{path} holds a document that is no Kubernetes object")
            objects.append(document)
    return objects


def _service(directory: Path, objects: tuple[Object, ...]) -> WebhookService:
    for obj in objects:
        if obj["kind"] not in _WEBHOOK_KINDS:
            continue
        for webhook in obj.get("webhooks") or ():
            service = webhook["clientConfig"].get("service")
            if service is not None:
                return WebhookService(namespace=service["namespace"], name=service["name"])
    raise ManifestError(f"{directory} holds no webhook configuration that names a Service")


# The CRDs are megabytes of YAML; the C parser reads them some ten times faster.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
