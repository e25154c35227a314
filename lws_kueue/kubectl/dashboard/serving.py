"""Who may ask for the picture: the page that was opened with the token, and nobody else.

Every user of the machine reaches a port on loopback, and every page of the browser can send
requests there. So the data is given to whoever knows the token, which stands in the fragment of the
URL: a browser sends that to no server and in no referrer. A name that somebody else has bound to
127.0.0.1 is refused (DNS rebinding), and so is a request that a page of another origin has caused.
The files of the page say nothing of the cluster, and have no token.
"""

import contextlib
import http.server
import importlib.resources
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib import parse

HOST: Final = "127.0.0.1"
DATA: Final = "/data"

# So many are answered at a time, and none is waited for longer than so many seconds: whoever opens
# connections and says nothing, which every user of the machine can, takes no more than that.
MOST: Final = 32
PATIENCE: Final = 10.0

# What the browser may do with the page: run its one script, and ask its own server.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        # The page has no icon, and says so by an empty one.
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_FILES: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
# A browser says where a request comes from; "none" is a person who has typed it.
_OUR_SITES: Final = frozenset({"same-origin", "none"})

# What the page asks for by name, as a JSON text.
Answer = Callable[[Mapping[str, str]], str]


@dataclass(frozen=True)
class Pages:
    """The answers of the server; ``answer`` is given the parameters of a question for data.

    One question is answered at a time: of several open pages none is a burden of its own.
    """

    answer: Answer
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def to(self, target: str, headers: Mapping[str, str], *, port: int) -> tuple[int, str, bytes]:
        """Return status, content type and content of the answer to a request."""
        if headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            return _refused(HTTPStatus.MISDIRECTED_REQUEST, f"ask for http://{HOST}:{port}")
        if headers.get("Sec-Fetch-Site", "none") not in _OUR_SITES:
            return _refused(HTTPStatus.FORBIDDEN, "another page has asked")
        try:
            url = parse.urlsplit(target)
        except ValueError:
            return _refused(HTTPStatus.BAD_REQUEST, "that is no path")
        if url.path in _FILES:
            name, kind = _FILES[url.path]
            return HTTPStatus.OK, kind, _file(name)
        if url.path != DATA:
            return _refused(HTTPStatus.NOT_FOUND, "there is nothing")
        given = headers.get("Authorization", "").encode()
        if not secrets.compare_digest(given, f"Bearer {self.token}".encode()):
            return _refused(HTTPStatus.UNAUTHORIZED, "open the URL that the command has printed")
        with self._turn:
            said = self.answer(dict(parse.parse_qsl(url.query)))
        return HTTPStatus.OK, "application/json", said.encode()


def _file(name: str) -> bytes:
    return (importlib.resources.files("lws_kueue.kubectl.dashboard") / name).read_bytes()


def _refused(status: HTTPStatus, why: str) -> tuple[int, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{why}\n".encode()


class _Server(http.server.ThreadingHTTPServer):
    """One that answers so many at a time; who comes when it is full is hung up on."""

    def __init__(self, *given: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST)
        super().__init__(*given)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of who has gone away meanwhile; anything else is a fault of this program."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serving(pages: Pages, *, port: int = 0, patience: float = PATIENCE) -> Iterator[str]:
    """Serve until the context ends; gives the URL with the token. Port 0 is any that is free.

    ``patience`` is for how many seconds a connection may say or take nothing.

    Raises:
        OSError: the port is taken.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        # Each answer has a connection of its own, so none is left when this ends.
        protocol_version = "HTTP/1.0"
        server_version = "kubectl-lws"
        sys_version = ""

        timeout = patience

        def do_GET(self) -> None:
            status, kind, content = pages.to(self.path, self.headers, port=bound)  # type: ignore[arg-type]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def end_headers(self) -> None:
            """Say what a browser may do with the answer, also with one that refuses a method."""
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            super().end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the terminal is somebody's."""

    with _Server((HOST, port), Handler) as server:
        bound = int(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{bound}/#token={pages.token}"
        finally:
            server.shutdown()
            thread.join()
