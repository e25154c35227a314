"""The one way out: asynchronous requests of JSON objects to the API server.

``kubernetes.aio`` says how the API server is reached and who we are; the HTTP session is ours, so
that bodies have an encoding of our own. Requests fail with one type of error. Writes are not
retried; the work queue does that, with everything decided afresh, and one that is not answered in
10 s may have happened or not (``unknown``). When the API server asks for a
pause, no request is sent before it is over (`pause`).
"""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib import parse
from urllib import request as environment

import aiohttp
import aiolimiter
import tenacity
import yaml
from kubernetes.aio import client as kube_client
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import rest as kube_rest

from lws_kueue.runtime import asking, build_info, encoding, metrics, pause, resources

USER_AGENT = build_info.user_agent()

_MERGE_PATCH = "application/merge-patch+json"
_APPLY_PATCH = "application/apply-patch+yaml"
_DRY_RUN = "dryRun=All"
_PAGE = 500

_MOST_CONNECTIONS = 64
_READ_AHEAD = 2**21
# A page of a list may take long. A write holds a slot, and whoever waits for it decides anew.
_READ_TIMEOUT = aiohttp.ClientTimeout(total=60)
_WRITE_TIMEOUT = aiohttp.ClientTimeout(total=10)
_NO_ANSWER = "Timeout"
# Of an answer that cannot be used so many bytes are read, however long it is.
_MOST_OF_A_FAULT = 2**20

# Internal errors that are none: whoever refused would do so again.
_FINAL = ("webhook", "request is too large", "message larger than max")

# How often a read is sent that the API server asks to send later.
_READS = 5


# Whoever has a client catches its errors.
NoServerError = asking.NoServerError
ApiError = asking.ApiError


def _error(response: aiohttp.ClientResponse, body: bytes, *, request: str) -> ApiError:
    status, answer = response.status, asking.status_of(body)
    return asking.refusal(
        body,
        status=status,
        phrase=response.reason or "",
        request=request,
        retry_after=pause.asked_for(status=status, headers=response.headers, answer=answer),
    )


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read what is to be told of an answer; nobody else needs it whole."""
    read = bytearray()
    while len(read) < _MOST_OF_A_FAULT:
        piece = await response.content.read(_MOST_OF_A_FAULT - len(read))
        if not piece:
            break
        read += piece
    return bytes(read)


def _unanswered(error: Exception, *, request: str) -> ApiError:
    late = isinstance(error, TimeoutError)
    reason = _NO_ANSWER if late else type(error).__name__
    message = "no answer in time" if late else str(error)
    return ApiError(status=0, reason=reason, message=message, request=request)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the objects of a kind; all pages of a list are as of one ``resource_version``."""

    items: tuple[dict[str, Any], ...]
    resource_version: str


class Client:
    """Requests to one API server with one identity."""

    def __init__(
        self,
        configuration: kube_client.Configuration,
        *,
        pace: aiolimiter.AsyncLimiter | None = None,
        patience: float = pause.LONGEST,
        tls: ssl.SSLContext | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> None:
        """``pace`` limits the requests; watches are not counted.

        ``patience`` is for how many seconds a pause that the API server asks for is kept at most.
        ``tls`` is what of TLS the ``configuration`` does not say in files, ``timeout`` is for
        requests of all kinds; without them the usual ones are.
        """
        self._pause = pause.Pause(longest=patience)
        self._configuration = configuration
        self._pace = pace
        self._host = parse.urlsplit(str(configuration.host)).netloc
        self.may_write: Callable[[], bool] = lambda: True
        """Asked right before each write; where it says no, the write is not sent.

        A dry run is no write: nothing is kept of it.
        """
        self._proxy = configuration.proxy or _proxy_for(str(configuration.host))
        self._tls = tls or kube_rest.RESTClientObject(configuration).ssl_context
        self._timeout = timeout
        self._own_session: aiohttp.ClientSession | None = None

    @classmethod
    async def load(
        cls,
        *,
        kubeconfig: str | None,
        context: str | None = None,
        pace: aiolimiter.AsyncLimiter | None = None,
        patience: float = pause.LONGEST,
    ) -> "Client":
        """Connect with a kubeconfig file, or with the pod's service account when there is none.

        Raises:
            NoServerError: there is neither, or the file cannot be used.
        """
        configuration = kube_client.Configuration()
        try:
            if kubeconfig:
                await kube_config.load_kube_config(
                    config_file=kubeconfig, context=context, client_configuration=configuration
                )
            else:
                await kube_config.load_config(client_configuration=configuration)
        except (kube_config.ConfigException, yaml.YAMLError) as error:
            where = f"{kubeconfig} cannot be used" if kubeconfig else "this is not in a pod"
            why = " ".join(str(error).split())
            raise NoServerError(f"give --kubeconfig or KUBECONFIG: {where}: {why}") from error
        return cls(configuration, pace=pace, patience=patience)

    async def close(self) -> None:
        """Close all connections."""
        if self._own_session is not None:
            await self._own_session.close()

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self._configuration.host)

    async def session(self) -> aiohttp.ClientSession:
        """Return a new HTTP session with this identity.

        It is for the library that watches, which closes it whenever it winds down.
        """
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
        return aiohttp.ClientSession(
            connector=connector, headers=await self._identity(), proxy=self._proxy
        )

    @property
    def _session(self) -> aiohttp.ClientSession:
        """The session of all requests; it begins with the first, as it needs a running loop."""
        if self._own_session is None:
            self._own_session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, ssl=self._tls),
                trace_configs=[self._traced()],
                read_bufsize=_READ_AHEAD,
            )
        return self._own_session

    @property
    def _route(self) -> dict[str, Any]:
        """What each request has to say of the way to the API server."""
        given = self._configuration
        return {
            "server_hostname": given.tls_server_name,
            "proxy": self._proxy,
            "proxy_headers": given.proxy_headers,
        }

    async def _identity(self) -> dict[str, str]:
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        return {"User-Agent": USER_AGENT, **({"Authorization": token} if token else {})}

    def _traced(self) -> aiohttp.TraceConfig:
        """Ask once more when a request has its connection: making one takes long, and may stall."""

        async def start(_: Any, context: Any, params: aiohttp.TraceRequestStartParams) -> None:
            context.method, context.query = params.method, params.url.query_string

        async def connected(_: Any, context: Any, __: Any) -> None:
            self._check_lead(context.method, context.query)

        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(start)
        trace.on_connection_create_end.append(connected)
        trace.on_connection_reuseconn.append(connected)
        return trace

    def _check_lead(self, method: str, query: str = "") -> None:
        if method != "GET" and _DRY_RUN not in query.split("&") and not self.may_write():
            message = "this process does not lead"
            raise ApiError(status=0, reason="NotLeading", message=message, request=method)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer.

        A read that the API server asks to send later is sent again. A write is not: it fails when
        the pause is over, because what it was decided on may have changed.

        Raises:
            ApiError: the server refused, did not answer, or asked for a pause.
        """
        url = f"{self.server}{path}" + (f"?{parse.urlencode(query)}" if query else "")
        name = f"{method} {path}"
        left = _READS if method == "GET" else 1
        while True:
            left -= 1
            if await self._pause.over() and method != "GET":
                message = "the API server asked for a pause; the write is decided on anew"
                raise ApiError(status=429, reason="Paused", message=message, request=name)
            try:
                return await self._send(
                    method, url, body=body, content_type=content_type, name=name
                )
            except ApiError as error:
                if not error.retry_after:
                    raise
                self._pause.begin(error.retry_after)
                await self._pause.over()
                if not left:
                    raise

    async def _send(
        self, method: str, url: str, *, body: Any, content_type: str, name: str
    ) -> dict[str, Any]:
        """Send a request once; errors tell its ``name``."""
        types = {"Accept": "application/json", "Content-Type": content_type}
        headers = {**await self._identity(), **types}
        if self._pace is not None:
            await self._pace.acquire()
        self._check_lead(method, parse.urlsplit(url).query)
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=None if body is None else encoding.dumps(body),
                timeout=self._timeout or (_READ_TIMEOUT if method == "GET" else _WRITE_TIMEOUT),
                # No API server redirects, and our credentials are for this one alone.
                allow_redirects=False,
                **self._route,
            ) as response:
                well = 200 <= response.status < 300
                # Whatever answers with a page to look at is no API server.
                whole = well and response.content_type.endswith("json")
                data = await (response.read() if whole else _beginning(response))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.requested(code=0, host=self._host, method=method)
            raise _unanswered(error, request=name) from error
        metrics.requested(code=response.status, host=self._host, method=method)
        if not well:
            raise _error(response, data, request=name)
        try:
            parsed = json.loads(data) if data else {}
        except (ValueError, RecursionError) as error:
            # A proxy in between answers for a server that is away.
            raise ApiError(status=0, reason="NotJson", message=str(error), request=name) from error
        return parsed if isinstance(parsed, dict) else {}

    async def get(
        self, resource: resources.Resource, *, namespace: str = "", name: str
    ) -> dict[str, Any] | None:
        """Read one object; None when it does not exist."""
        try:
            return await self.request("GET", resource.path(namespace=namespace, name=name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def pages(
        self, resource: resources.Resource, *, label_selector: str = ""
    ) -> AsyncIterator[Page]:
        """List all objects of a kind in all namespaces, page by page, as of one moment.

        Raises:
            ApiError: as for `request`; 410 says that the list took so long that the API server has
                forgotten that moment.
        """
        query = {"limit": str(_PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        while True:
            answer = await self.request("GET", resource.path(), query=query)
            meta = answer.get("metadata") or {}
            items = tuple(answer.pop("items", None) or ())
            for item in items:
                # Items of a list carry no type of their own.
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            yield Page(items, str(meta.get("resourceVersion", "")))
            if not meta.get("continue"):
                return
            query["continue"] = meta["continue"]

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Begin to read an answer that goes on; gives its bytes as they come, until it ends.

        It is neither counted nor limited as requests are. With nothing to read for ``silence``
        seconds the connection counts as lost.

        Raises:
            ApiError: as for `request`, also while the answer is read.
        """
        await self._pause.over()
        name = f"GET {path}"
        try:
            async with self._session.get(
                f"{self.server}{path}?{parse.urlencode(query)}",
                headers={**await self._identity(), "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=(self._timeout or _READ_TIMEOUT).total,
                    sock_read=silence,
                ),
                allow_redirects=False,
                **self._route,
            ) as response:
                if response.status != 200:
                    raise _error(response, await _beginning(response), request=name)
                yield response.content.iter_any()
        except ApiError as error:
            self._pause.begin(error.retry_after)
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unanswered(error, request=name) from error

    async def create(self, body: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """Create an object; ApiError 409 AlreadyExists when the name is taken."""
        resource = resources.of(body["apiVersion"], body["kind"])
        path = resource.path(namespace=body["metadata"].get("namespace", ""))
        return await self.request("POST", path, query={"fieldManager": field_manager}, body=body)

    async def apply(
        self,
        body: Mapping[str, Any],
        *,
        field_manager: str,
        subresource: str = "",
        force: bool = True,
    ) -> dict[str, Any]:
        """Server-side apply ``body``."""
        resource = resources.of(body["apiVersion"], body["kind"])
        meta = body["metadata"]
        path = resource.path(
            namespace=meta.get("namespace", ""), name=meta["name"], subresource=subresource
        )
        query = {"fieldManager": field_manager, "force": str(force).lower()}
        return await self.request("PATCH", path, query=query, body=body, content_type=_APPLY_PATCH)

    async def merge_patch(
        self,
        resource: resources.Resource,
        *,
        namespace: str,
        name: str,
        body: Mapping[str, Any],
        subresource: str = "",
        field_manager: str = "",
    ) -> dict[str, Any]:
        """JSON merge patch; put ``metadata.resourceVersion`` into ``body`` to guard it."""
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        query = {"fieldManager": field_manager} if field_manager else None
        return await self.request("PATCH", path, query=query, body=body, content_type=_MERGE_PATCH)

    async def delete(
        self,
        resource: resources.Resource,
        *,
        namespace: str,
        name: str,
        uid: str,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> dict[str, Any]:
        """Delete exactly the object with ``uid``; ApiError 409 when the name has another one."""
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": propagation,
        }
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        return await self.request(
            "DELETE", resource.path(namespace=namespace, name=name), body=body
        )


def _proxy_for(server: str) -> str | None:
    """Return the proxy that the environment names for a server (HTTPS_PROXY and NO_PROXY).

    It is looked up once. The HTTP library would do so for each request, in a thread, and would
    take passwords out of a file that is for other programs (.netrc) besides.
    """
    parts = parse.urlsplit(server)
    if environment.proxy_bypass(parts.netloc):
        return None
    found = environment.getproxies().get(parts.scheme, "")
    # The HTTP library knows no others.
    return found if found.startswith(("http://", "https://")) else None


def pace(*, qps: float | None, burst: int) -> aiolimiter.AsyncLimiter | None:
    """Return a limit of ``qps`` requests a second, ``burst`` at once after a pause."""
    return None if qps is None else aiolimiter.AsyncLimiter(burst, burst / qps)


def unreachable(error: BaseException) -> bool:
    """Whether an error says that the server is away for now rather than that it refuses."""
    return isinstance(error, ApiError) and (error.status in (0, 429) or error.status >= 500)


def unknown(error: ApiError) -> bool:
    """Whether an error leaves open if a write has happened, or will yet."""
    return error.status == 504 or (error.status, error.reason) == (0, _NO_ANSWER)


def refuses(error: ApiError) -> bool:
    """Whether an error says that the server does not take a write, and not that it is away.

    A webhook that has to agree and does not answer is an internal error to the API server, and so
    is an object that is larger than etcd takes.
    """
    final = any(part in error.message for part in _FINAL)
    return not unreachable(error) or (error.status == 500 and final)


def namespace_leaves(error: ApiError) -> bool:
    """Whether a create was refused because its namespace is being deleted, or is gone.

    Nothing is to be done about that: the objects in it are deleted as well.
    """
    details = error.answer.get("details") or {}
    causes = details.get("causes") or ()
    terminating = any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
    gone = error.status == 404 and details.get("kind") == "namespaces"
    return terminating or gone


def patiently(*, seconds: float) -> tenacity.AsyncRetrying:
    """Retry a read for up to ``seconds`` while the API server cannot be reached."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(unreachable),
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
