"""Requests to the API server, for programs that live for a moment.

Each is sent by a thread of its own, so many are under way at a time. Nothing is sent again: who
reads an error asks again.
"""

import asyncio
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib import parse

import urllib3

from lws_kueue import __version__
from lws_kueue.kubectl import access as accesses
from lws_kueue.runtime import asking, resources

FIELD_MANAGER: Final = "kubectl-lws"

_AGENT: Final = f"kubectl-lws/{__version__}"
_PAGE: Final = 500
_CONNECTIONS: Final = 16
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=30)
_STREAM_TIMEOUT: Final = urllib3.Timeout(connect=10, read=None)


class Connection:
    """One API server, asked by one person."""

    def __init__(self, access: accesses.Access) -> None:
        self.access = access
        given: dict[str, Any] = {"maxsize": _CONNECTIONS, "retries": False}
        if access.server.startswith("https"):
            given["ssl_context"] = _tls(access)
            if access.server_name:
                given |= {
                    "server_hostname": access.server_name,
                    "assert_hostname": access.server_name,
                }
        self._pool = (
            urllib3.ProxyManager(access.proxy, **given)
            if access.proxy
            else urllib3.PoolManager(**given)
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the JSON object of the answer (`asking.Requests`)."""
        return await asyncio.to_thread(
            self.send, method, path, query=query, body=body, content_type=content_type
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and wait for the answer, a JSON object.

        Raises:
            asking.ApiError: the server refused, or did not answer.
        """
        response = self._answer(
            method,
            path,
            query=query,
            body=None if body is None else json.dumps(body).encode(),
            content_type=content_type,
        )
        try:
            parsed = json.loads(response.data) if response.data else {}
        except ValueError as error:
            request = f"{method} {path}"
            raise asking.ApiError(
                status=0, reason="NotJson", message=str(error), request=request
            ) from error
        return parsed if isinstance(parsed, dict) else {}

    def lines(self, path: str, *, query: Mapping[str, str]) -> Iterator[str]:
        """Yield the lines of an answer as they come, until the server ends it.

        Raises:
            asking.ApiError: the server refused, or went away.
        """
        response = self._answer("GET", path, query=query, stream=True)
        left = b""
        try:
            for part in response.stream():
                *whole, left = (left + part).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
        except urllib3.exceptions.HTTPError as error:
            raise _unanswered(error, f"GET {path}") from error
        finally:
            response.release_conn()
        if left:
            yield left.decode(errors="replace")

    def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: bytes | None = None,
        content_type: str = "application/json",
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self.access.server}{path}" + (f"?{parse.urlencode(query)}" if query else "")
        request = f"{method} {path}"
        own = {"User-Agent": _AGENT, "Accept": "application/json", "Content-Type": content_type}
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={**self.access.headers, **own},
                timeout=_STREAM_TIMEOUT if stream else _TIMEOUT,
                preload_content=not stream,
            )
            if 200 <= response.status < 300:
                return response
            told = response.data
        except urllib3.exceptions.HTTPError as error:
            raise _unanswered(error, request) from error
        raise asking.refusal(
            told, status=response.status, phrase=response.reason or "", request=request
        )

    async def get(
        self, resource: resources.Resource, *, namespace: str = "", name: str
    ) -> dict[str, Any] | None:
        """Read one object; None when it does not exist."""
        try:
            return await self.request("GET", resource.path(namespace=namespace, name=name))
        except asking.ApiError as error:
            if error.status == 404:
                return None
            raise

    async def listed(
        self, resource: resources.Resource, *, namespace: str = "", label_selector: str = ""
    ) -> list[dict[str, Any]]:
        """List the objects of a kind, in a namespace or in all of them with ""."""
        query = {"limit": str(_PAGE)}
        if label_selector:
            query["labelSelector"] = label_selector
        found: list[dict[str, Any]] = []
        while True:
            page = await self.request("GET", resource.path(namespace=namespace), query=query)
            for item in page.get("items") or ():
                # Items of a list carry no type of their own.
                item |= {"apiVersion": resource.api_version, "kind": resource.kind}
                found.append(item)
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            query["continue"] = token


def _tls(access: accesses.Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=access.authority or None)
        if not access.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.certificate:
            # A key is taken from a file alone; this one is ours only, and gone at once.
            with tempfile.TemporaryDirectory() as folder:
                pair = Path(folder) / "pair.pem"
                pair.touch(mode=0o600)
                pair.write_text(f"{access.certificate}\n{access.key}\n")
                context.load_cert_chain(pair)
    except ssl.SSLError as error:
        raise asking.NoServerError(
            f"a certificate or key of the kubeconfig cannot be used: {error}"
        ) from error
    return context


def _unanswered(error: Exception, request: str) -> asking.ApiError:
    reason = getattr(error, "reason", None) or error
    return asking.ApiError(
        status=0, reason=type(error).__name__, message=str(reason), request=request
    )
