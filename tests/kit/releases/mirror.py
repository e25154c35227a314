"""A registry on loopback that speaks the distribution protocol, and fails as it is told.

It asks for a token as public registries do: 401 with the place that gives one, which knows nobody.
"""

import contextlib
import dataclasses
import http.server
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.kit.releases.images import Repository

TOKEN = "a-token-of-this-registry"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: `content` may be less, or more slowly, than the headers promise."""

    status: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    content: bytes = b""
    pieces: int = 1
    pause: float = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    path: str
    authorization: str
    range: str


Fault = Callable[[Asked, Answer], Answer]


class Mirror:
    """What it holds, what it was asked, how many bytes it sent, and what it does wrong."""

    def __init__(self, repositories: Mapping[str, Repository], *, asks_for_token: bool) -> None:
        self.repositories = dict(repositories)
        self.files: dict[str, bytes] = {}
        self.asks_for_token = asks_for_token
        self.asked: list[Asked] = []
        self.sent = 0
        self.faults: list[Fault] = []
        self.url = ""
        self._counting = threading.Lock()

    def count(self, size: int) -> None:
        """Note that so many bytes of content were sent, without headers."""
        with self._counting:
            self.sent += size

    def fail(self, pattern: str, fault: Fault, *, times: int | None = None) -> None:
        """Let `fault` change what is answered to paths that `pattern` matches, so many times."""
        left = [times if times is not None else -1]

        def apply(asked: Asked, answer: Answer) -> Answer:
            if not left[0] or not re.search(pattern, asked.path):
                return answer
            left[0] -= 1
            return fault(asked, answer)

        self.faults.append(apply)

    def paths(self, pattern: str = "") -> list[str]:
        """The paths that were asked for."""
        return [asked.path for asked in self.asked if re.search(pattern, asked.path)]

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        found = self._answer(asked)
        for fault in self.faults:
            found = fault(asked, found)
        return found

    def _answer(self, asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        if path == "/token":
            return Answer(200, content=json.dumps({"token": TOKEN}).encode())
        if path in self.files:
            return Answer(200, content=self.files[path])
        if self.asks_for_token and asked.authorization != f"Bearer {TOKEN}":
            challenge = f'Bearer realm="{self.url}/token",service="here",scope="pull"'
            return Answer(401, {"WWW-Authenticate": challenge})
        named = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", path)
        repository = self.repositories.get(named[1]) if named else None
        if named is None or repository is None:
            return Answer(404)
        if named[2] == "manifests":
            if named[3] not in repository.manifests:
                return Answer(404)
            media_type, content = repository.manifests[named[3]]
            return Answer(200, {"Content-Type": media_type}, content)
        if named[3] not in repository.blobs:
            return Answer(404)
        return _part(repository.blobs[named[3]], asked.range)


def _part(content: bytes, wanted: str) -> Answer:
    found = re.fullmatch(r"bytes=(\d+)-", wanted)
    if not found:
        return Answer(200, content=content)
    start = int(found[1])
    headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
    return Answer(206, headers, content[start:])


@contextlib.contextmanager
def serving(
    repositories: Mapping[str, Repository],
    *,
    asks_for_token: bool = True,
    certificate: Path | None = None,
) -> Iterator[Mirror]:
    """A mirror that serves while the context is open; with a certificate (and key) over TLS."""
    mirror = Mirror(repositories, asks_for_token=asks_for_token)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = Asked(
                self.path, self.headers.get("Authorization", ""), self.headers.get("Range", "")
            )
            with contextlib.suppress(ConnectionError):
                self._send(mirror.answer(asked))

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.content))} | dict(answer.headers)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            step = max(1, -(-len(answer.content) // answer.pieces))
            for start in range(0, len(answer.content), step):
                piece = answer.content[start : start + step]
                self.wfile.write(piece)
                self.wfile.flush()
                mirror.count(len(piece))
                time.sleep(answer.pause)
            self.close_connection = int(headers["Content-Length"]) != len(answer.content)

        def log_message(self, *_: object) -> None:
            """Say nothing: tests ask for what they want to know."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    mirror.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
