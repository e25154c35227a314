"""Requests to registries and release servers: who is asked, with what token, and how long.

Proxies and certificate authorities are those that the usual variables name, credentials those of
`~/.netrc`. Redirects are followed here, hop by hop, because a token belongs to the host that asked
for it and must not go along to another one. Answers of a server that is busy are waited for a few
times; a host that cannot be connected to is not tried again.
"""

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
import requests.adapters
import requests.auth
import requests.utils
import urllib3.util

from lws_kueue.api import printable
from lws_kueue_lab.sandbox import cluster
from lws_kueue_lab.sandbox.releases.errors import IntegrityError, UnavailableError

_PROBE_SECONDS: Final = 1.0
_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 30.0
_REDIRECTS: Final = 5
_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.3
_CHUNK: Final = 1 << 18
_TOKEN_LIMIT: Final = 1 << 20
_BUSY: Final = (429, 500, 502, 503, 504)

Report = Callable[[int], None]


class _Authorization(requests.auth.AuthBase):
    """Sets just this header. Given for every request: else `requests` would take `~/.netrc`."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value:
            request.headers["Authorization"] = self._value
        return request


class Client:
    """Sends GET requests. One client is for one run: it remembers tokens and who is not reached."""

    def __init__(self) -> None:
        retries = urllib3.util.Retry(
            total=_TRIES,
            connect=0,
            read=1,
            status=_TRIES - 1,
            status_forcelist=_BUSY,
            backoff_factor=_PAUSE_SECONDS,
            raise_on_status=False,
            retry_after_max=10,
        )
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "lws-kueue-lab"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retries))
        # `requests` looks at two others, which go first.
        if bundle := os.environ.get("SSL_CERT_FILE"):
            self._session.verify = bundle
        self._authorizations: dict[str, str] = {}
        self._unreachable: dict[str, str] = {}

    def close(self) -> None:
        """Give all connections back."""
        self._session.close()

    def reach(self, url: str) -> str:
        """Tell why the host of `url`, or the proxy before it, is not connected to; empty if it is.

        Answers within about a second, and is asked once for each host.
        """
        return self._reach(url, _PROBE_SECONDS)

    def _reach(self, url: str, seconds: float) -> str:
        origin = _origin(url)
        if origin not in self._unreachable:
            self._unreachable[origin] = _probe(_first_hop(url), seconds)
        return self._unreachable[origin]

    def read(self, url: str, *, limit: int, accept: str = "*/*") -> tuple[bytes, Mapping[str, str]]:
        """The body and the headers of an answer; IntegrityError if it is longer than `limit`."""
        return _patiently(lambda: self._read(url, limit=limit, accept=accept))

    def _read(self, url: str, *, limit: int, accept: str) -> tuple[bytes, Mapping[str, str]]:
        with self._open(url, {"Accept": accept}) as response:
            return _body(response, url, limit), response.headers

    def download(
        self, url: str, into: Path, *, digest: str, size: int | None, limit: int, report: Report
    ) -> str:
        """Write what `url` has into a file and return its digest.

        Goes on where an earlier try, or an earlier run, has ended, if the size says where the end
        is. `digest` is what the content has to have, and `size` its length in bytes, where they are
        known; `limit` is the most that is taken, whatever the size. Raises UnavailableError if the
        line breaks again and again, and IntegrityError for another content.
        """
        if size is not None and not 0 <= size <= limit:
            raise IntegrityError(f"{url} is said to have {size} bytes, and {limit} are allowed")
        left_over = into.exists()
        found = self._download(url, into, size=size, limit=limit, report=report)
        if digest and found != digest and left_over:
            # The rest of an earlier run may be damaged; what comes anew has to be right.
            into.unlink()
            found = self._download(url, into, size=size, limit=limit, report=report)
        if digest and found != digest:
            into.unlink()
            raise IntegrityError(f"{url} has the digest {found}, and {digest} is wanted")
        return found

    def _download(
        self, url: str, into: Path, *, size: int | None, limit: int, report: Report
    ) -> str:
        _patiently(lambda: self._receive(url, into, size=size, limit=limit, report=report))
        with into.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def _receive(
        self, url: str, into: Path, *, size: int | None, limit: int, report: Report
    ) -> None:
        most = limit if size is None else size
        # What nobody knows the size of may have changed meanwhile: it comes from its beginning.
        start = into.stat().st_size if size is not None and into.exists() else 0
        if size is not None and start == size:
            into.touch()
            return
        if start > most:
            into.unlink()
            start = 0
        headers = {"Range": f"bytes={start}-"} if start else {}
        # Compression by the server would change what a range is of.
        with self._open(url, {**headers, "Accept-Encoding": "identity"}) as response:
            resumed = start > 0 and response.status_code == 206
            written = start if resumed else 0
            with into.open("ab" if resumed else "wb") as file, _line_errors(url):
                for chunk in response.iter_content(_CHUNK):
                    written += len(chunk)
                    if written > most:
                        into.unlink()
                        raise IntegrityError(f"{url} sends more than it says")
                    file.write(chunk)
                    report(len(chunk))
        if size is not None and written < size:
            raise _LineBrokeError(f"{url}: {written} of {size} bytes came")

    @contextlib.contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        response = self._follow(url, headers)
        with response:
            if response.status_code not in (200, 206):
                phrase = printable.brief(response.reason or "")
                raise UnavailableError(f"{url} answers {response.status_code} {phrase}".rstrip())
            yield response

    def _follow(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        for _ in range(_REDIRECTS + 1):
            response = self._hop(url, headers)
            if not response.is_redirect:
                return response
            response.close()
            url = urllib.parse.urljoin(url, response.headers["Location"])
        raise UnavailableError(f"{url}: too many redirects")

    def _hop(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        origin = _origin(url)
        response = self._send(url, headers, self._authorizations.get(origin, ""))
        if response.status_code != 401:
            return response
        response.close()
        authorization = self._authorize(url, response.headers.get("WWW-Authenticate", ""))
        if not authorization:
            return response
        self._authorizations[origin] = authorization
        return self._send(url, headers, authorization)

    def _authorize(self, url: str, challenge: str) -> str:
        """The header that answers a challenge, or nothing if there is no answer to it."""
        scheme, _, rest = challenge.partition(" ")
        parameters = requests.utils.parse_dict_header(rest)
        if scheme.lower() == "basic":
            known = requests.utils.get_netrc_auth(url)
            return requests.auth._basic_auth_str(*known) if known else ""
        realm = parameters.get("realm") or ""
        if scheme.lower() != "bearer" or not realm:
            return ""
        query = {key: parameters[key] for key in ("service", "scope") if parameters.get(key)}
        # Without an authorization of ours, so that `~/.netrc` answers for the host of the realm.
        with self._request(realm, params=query) as answer:
            if answer.status_code != 200:
                return ""
            return _bearer(_body(answer, realm, _TOKEN_LIMIT))

    def _send(self, url: str, headers: Mapping[str, str], authorization: str) -> requests.Response:
        return self._request(url, headers=dict(headers), auth=_Authorization(authorization))

    def _request(self, url: str, **arguments: Any) -> requests.Response:
        require_tls(url)
        origin = _origin(url)
        # Before the request, because that would wait for a name as long as the resolver does.
        if reason := self._reach(url, _CONNECT_SECONDS):
            raise UnavailableError(f"{_host(url)} cannot be reached ({reason})")
        try:
            return self._session.get(
                url,
                stream=True,
                allow_redirects=False,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                **arguments,
            )
        except requests.exceptions.SSLError as error:
            self._unreachable[origin] = (
                f"its certificate is not trusted: {_root(error)}; "
                "REQUESTS_CA_BUNDLE or SSL_CERT_FILE names other authorities"
            )
        except requests.exceptions.ConnectionError as error:
            self._unreachable[origin] = _root(error)
        # A ValueError comes of a redirect to what is no URL.
        except (requests.exceptions.RequestException, ValueError) as error:
            raise UnavailableError(f"{printable.brief(url)}: {_root(error)}") from error
        except OSError as error:
            raise cluster.ToolchainError(
                "the authorities that REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE names"
                f" cannot be read: {error}"
            ) from error
        raise UnavailableError(f"{_host(url)} cannot be reached ({self._unreachable[origin]})")


class _LineBrokeError(UnavailableError):
    """The connection ended before the content did."""


_Result = TypeVar("_Result")


def _patiently(ask: Callable[[], _Result]) -> _Result:
    """Ask again, a few times, where the line breaks."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(_LineBrokeError):
            return ask()
        time.sleep(_PAUSE_SECONDS)
    return ask()


@contextlib.contextmanager
def _line_errors(url: str) -> Iterator[None]:
    try:
        yield
    except requests.exceptions.RequestException as error:
        raise _LineBrokeError(f"{url}: the line broke ({_root(error)})") from error


def _body(response: requests.Response, url: str, limit: int) -> bytes:
    body = b""
    with _line_errors(url):
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise IntegrityError(f"{url} sends more than {limit} bytes")
    return body


def _bearer(answer: bytes) -> str:
    """The header with the token of an answer; nothing if there is none in it."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    found = document.get("token") or document.get("access_token")
    return f"Bearer {found}" if found else ""


def require_tls(url: str) -> None:
    """Raise UnavailableError for what is no URL, or one neither of HTTPS nor of this machine."""
    told = printable.brief(url)
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise UnavailableError(f"{told} is no URL: {printable.brief(str(error))}") from error
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"):
        return
    raise UnavailableError(f"{told} is not asked: it is not HTTPS")


def _origin(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _host(url: str) -> str:
    return printable.brief(urllib.parse.urlsplit(url).netloc)


def _first_hop(url: str) -> str:
    """Where the connection goes: the proxy that the environment names for `url`, else its host."""
    proxies = requests.utils.get_environ_proxies(url)
    return requests.utils.select_proxy(url, proxies) or url


def _probe(url: str, seconds: float) -> str:
    """Connect once and say why that failed. In a thread: resolving a name knows no time-out."""
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        return printable.brief(f"{url} is no URL: {error}")
    answer = [f"no answer within {seconds:g} s"]

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", port), seconds).close()
            answer[0] = ""
        except (OSError, UnicodeError) as error:  # The latter for what can be no name of a host.
            answer[0] = getattr(error, "strerror", None) or str(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0]


def _root(error: BaseException) -> str:
    """What lies at the bottom of an error of `requests`, in few words.

    That may be what came in the place of an answer.
    """
    found = error
    while True:
        below = getattr(found, "reason", None) or next(
            (a for a in found.args if isinstance(a, BaseException)), None
        )
        if not isinstance(below, BaseException):
            return printable.brief(str(found).strip()) or type(found).__name__
        found = below
