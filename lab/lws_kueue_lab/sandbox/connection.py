"""A connection to an API server with the credentials of a kubeconfig: requests and watches."""

import json
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3.exceptions

import lws_kueue

ApiError = kubernetes.client.ApiException

USER_AGENT = f"lws-kueue-sandbox/{lws_kueue.__version__}"

# One request may take long on a busy machine, but never for ever.
_REQUEST_TIMEOUT_SECONDS = 60.0


class Connection:
    """Requests with the credentials of a kubeconfig.

    Every method raises `ApiError` for an answer that is not a success; its `status` and `body`
    tell what the API server said.
    """

    def __init__(self, kubeconfig: Path, *, user_agent: str = USER_AGENT) -> None:
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        configuration.retries = False
        self.api_client = kubernetes.client.ApiClient(configuration)
        self.api_client.user_agent = user_agent

    def close(self) -> None:
        """Give back the connections."""
        self.api_client.close()

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(self.api_client.configuration.host)

    def certificate_authority(self) -> bytes:
        """The PEM certificates that the API server is verified with."""
        path = self.api_client.configuration.ssl_ca_cert
        return Path(path).read_bytes() if path else b""

    def version(self) -> str:
        """The version of the API server, such as `v1.36.3`."""
        return str(self.request("GET", "/version")["gitVersion"])

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float = _REQUEST_TIMEOUT_SECONDS,
    ) -> Any:
        """Send one request and return the decoded JSON answer; a text answer comes as text."""
        response = self._send(
            method, path, query=query, body=body, content_type=content_type, timeout=timeout
        )
        data = response.read()
        if not 200 <= response.status <= 299:
            raise ApiError(http_resp=response, body=data.decode(errors="replace"), data=None)
        text = data.decode()
        if "json" in (response.headers.get("Content-Type") or ""):
            return json.loads(text)
        return text

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None,
        body: Any,
        content_type: str,
        timeout: float | tuple[float, float],
    ) -> Any:
        headers = dict(self.api_client.default_headers)
        headers["Accept"] = "application/json"
        if body is not None:
            headers["Content-Type"] = content_type
        queries = [(key, _query_value(value)) for key, value in (query or {}).items()]
        self.api_client.update_params_for_auth(
            headers, queries, ["BearerToken"], path, method, body
        )
        url = self.server + path
        if queries:
            url += "?" + urllib.parse.urlencode(queries)
        return self.api_client.call_api(method, url, headers, body, _request_timeout=timeout)

    def stream(
        self, path: str, *, query: Mapping[str, Any], timeout: float
    ) -> Iterator[dict[str, Any]]:
        """Yield the JSON lines of an answer that goes on, until it ends or breaks off."""
        response = self._send(
            "GET",
            path,
            query=query,
            body=None,
            content_type="",
            timeout=(_REQUEST_TIMEOUT_SECONDS, timeout),
        )
        try:
            if response.status != 200:
                body = response.read().decode(errors="replace")
                raise ApiError(http_resp=response, body=body, data=None)
            yield from _decode_lines(response.response)
        finally:
            # An answer that is left early cannot go back to the pool half-read.
            response.response.close()


def _decode_lines(response: Any) -> Iterator[dict[str, Any]]:
    buffer = b""
    try:
        # read1 gives what has arrived; read would wait for a full chunk.
        while chunk := response.read1():
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
    except (urllib3.exceptions.HTTPError, OSError):
        return


def _query_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
