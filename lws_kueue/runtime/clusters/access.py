"""From a MultiKueueCluster to a client: its kubeconfig, read, judged, and made use of.

Keys come into the file system for a moment only, in a file that nobody else can read: OpenSSL takes
a client's key from nowhere else.
"""

import asyncio
import base64
import binascii
import contextlib
import datetime
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import aiolimiter
from kubernetes.aio import client as kube_client

from lws_kueue.dispatch import kubeconfig
from lws_kueue.runtime import client, resources

SECRET_KEY: Final = "kubeconfig"  # noqa: S105 - a name

# A slow cluster is told from one that is away by what waits for it, not by how long one request may
# take; but nothing waits for ever.
TIMEOUT: Final = aiohttp.ClientTimeout(total=15, sock_connect=5)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all clusters.

    - ``namespace``: where the Secrets are.
    - ``rate``, ``at_once``: requests a second to each cluster, None for no limit, and how many at
      once after a pause.
    - ``interval``: how often what a cluster serves is looked at, and its Secret, in seconds.
    - ``origin``: the value of the label on all that is made there, "" for that of this cluster.
    - ``directory``: below which files may be that kubeconfigs name, None for nowhere.
    """

    namespace: str = "kueue-system"
    rate: float | None = 50.0
    at_once: int = 100
    interval: float = 15.0
    directory: Path | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the kubeconfig of a cluster is: in a Secret, or in a file."""

    secret: str = ""
    path: str = ""

    @classmethod
    def of(cls, cluster: Mapping[str, Any]) -> "Source":
        """Return what a MultiKueueCluster says.

        Raises:
            kubeconfig.Refused: it is no source that is served.
        """
        source = (cluster.get("spec") or {}).get("clusterSource") or {}
        if source.get("clusterProfileRef"):
            raise kubeconfig.Refused("ClusterProfile is not supported by lws-kueue; use a Secret")
        given = source.get("kubeConfig") or {}
        location = str(given.get("location") or "")
        if not location:
            raise kubeconfig.Refused("spec.clusterSource.kubeConfig.location is missing")
        if given.get("locationType", "Secret") == "Secret":
            return cls(secret=location)
        return cls(path=location)

    def told(self, settings: Settings) -> str:
        """Return what people know it by."""
        return f"Secret {settings.namespace}/{self.secret}" if self.secret else f"file {self.path}"


async def endpoint_of(
    source: Source, *, home: client.Client, settings: Settings
) -> kubeconfig.Endpoint:
    """Read and judge the kubeconfig of a cluster.

    Raises:
        kubeconfig.Refused: there is none, or it cannot be used; the text names the Secret.
        client.ApiError: the manager's API server could not be asked.
    """
    what = source.told(settings)
    if source.secret:
        content = await _of_secret(source.secret, what, home=home, settings=settings)
    else:
        content = await asyncio.to_thread(_of_path, source.path, settings.directory)
    try:
        # Much may be written into a kubeconfig; meanwhile others go on.
        return await asyncio.to_thread(
            kubeconfig.judge,
            content,
            now=datetime.datetime.now(datetime.UTC),
            read_file=_reader(settings.directory),
        )
    except kubeconfig.Refused as error:
        raise kubeconfig.Refused(f"{what}: {error}") from None


async def _of_secret(name: str, what: str, *, home: client.Client, settings: Settings) -> bytes:
    try:
        secret = await home.get(resources.SECRETS, namespace=settings.namespace, name=name)
    except client.ApiError as error:
        if error.status != 403:
            raise
        raise kubeconfig.Refused(
            f"{what} cannot be read: the controller has no right to (deploy/multikueue/manager)"
        ) from None
    if secret is None:
        raise kubeconfig.Refused(f"{what} does not exist")
    data = (secret.get("data") or {}).get(SECRET_KEY)
    if data is None:
        raise kubeconfig.Refused(f"{what} has no key {SECRET_KEY}")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise kubeconfig.Refused(f"{what}: its key {SECRET_KEY} is not base64") from None


def _of_path(path: str, directory: Path | None) -> bytes:
    read = _reader(directory)
    if read is None:
        raise kubeconfig.Refused(
            "spec.clusterSource.kubeConfig.locationType Path is not served unless "
            "lwsKueue.multiKueue.kubeconfigDirectory is set; use a Secret"
        )
    try:
        return read(path)
    except kubeconfig.Refused as error:
        raise kubeconfig.Refused(f"spec.clusterSource.kubeConfig.location {error}") from None


def _reader(directory: Path | None) -> kubeconfig.ReadFile | None:
    """Return what reads files below a directory, with all links followed, and no others."""
    if directory is None:
        return None

    def read(path: str) -> bytes:
        if not Path(path).is_absolute():
            raise kubeconfig.Refused("names a file by a path that is not absolute")
        try:
            # What is outside is not even looked for: whether it exists is nobody's business.
            found = Path(path).resolve()
            if not found.is_relative_to(directory.resolve()):
                raise kubeconfig.Refused(
                    "names a file that is not below lwsKueue.multiKueue.kubeconfigDirectory"
                )
            if not found.is_file():
                raise kubeconfig.Refused("names a file that does not exist")
            with found.open("rb") as file:
                content = file.read(kubeconfig.LARGEST + 1)
        except (OSError, RuntimeError, ValueError):
            raise kubeconfig.Refused("names a file that cannot be read") from None
        if len(content) > kubeconfig.LARGEST:
            raise kubeconfig.Refused("names a file that is too large")
        return content

    return read


class _Client(client.Client):
    """A client that tells nothing of the token, whatever the server answers or a watch says."""

    def __init__(
        self,
        configuration: kube_client.Configuration,
        *,
        scrubbed: Callable[[str], str],
        pace: aiolimiter.AsyncLimiter | None,
        tls: ssl.SSLContext,
        timeout: aiohttp.ClientTimeout,
    ) -> None:
        super().__init__(configuration, pace=pace, tls=tls, timeout=timeout)
        self._scrubbed = scrubbed

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        try:
            return await super().request(
                method, path, query=query, body=body, content_type=content_type
            )
        except client.ApiError as error:
            self._scrub(error)
            raise

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            async with super().stream(path, query=query, silence=silence) as chunks:
                # What whoever reads makes of them comes back here as well.
                yield chunks
        except client.ApiError as error:
            self._scrub(error)
            raise

    def _scrub(self, error: client.ApiError) -> None:
        error.reason = self._scrubbed(error.reason)
        error.message = self._scrubbed(error.message)
        error.args = tuple(self._scrubbed(str(one)) for one in error.args)


def client_of(endpoint: kubeconfig.Endpoint, *, settings: Settings) -> client.Client:
    """Return a client of a cluster, with a pace of its own.

    Raises:
        kubeconfig.Refused: what the kubeconfig has cannot be used by the TLS of this machine.
    """
    configuration = kube_client.Configuration(
        host=endpoint.server, tls_server_name=endpoint.tls_server_name or None
    )
    if endpoint.token:
        configuration.api_key = {"BearerToken": endpoint.token}
        configuration.api_key_prefix = {"BearerToken": "Bearer"}
    return _Client(
        configuration,
        scrubbed=endpoint.scrubbed,
        pace=client.pace(qps=settings.rate, burst=settings.at_once),
        tls=_tls(endpoint),
        timeout=TIMEOUT,
    )


def _tls(endpoint: kubeconfig.Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=endpoint.authority or None)
        if endpoint.certificate:
            with tempfile.NamedTemporaryFile(prefix="lws-kueue-") as file:
                file.write(endpoint.certificate.rstrip() + b"\n" + endpoint.key)
                file.flush()
                context.load_cert_chain(file.name)
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise kubeconfig.Refused(f"its certificates cannot be used for TLS: {reason}") from None
    return context
