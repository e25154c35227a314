"""An API server that keeps what it is asked, refuses what it is told to, and serves logs."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib import parse

import pytest
import yaml

from lws_kueue.api import names
from lws_kueue.runtime import resources

if TYPE_CHECKING:
    from tests.kubectl.given import Given

Object = dict[str, Any]


class Server:
    """Serves ``objects`` by resource, each list as a whole; ``forbidden`` are plurals."""

    def __init__(self) -> None:
        self.objects: dict[resources.Resource, list[Object]] = {}
        self.forbidden: set[str] = set()
        self.clusterwide_forbidden: set[str] = set()
        self.logs: dict[str, str] = {}
        self.asked: list[str] = []
        self.patches: list[tuple[str, Object]] = []

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        if path == f"/apis/{names.KUEUE_GROUP}":
            return 200, {"versions": [{"version": names.KUEUE_VERSION}]}
        if path == f"/apis/{names.KUEUE_API_VERSION}":
            return 200, {"resources": [{"name": "workloads"}]}
        if path.startswith("/apis/visibility"):
            return 404, _status(404, "the server could not find the requested resource")
        if path.endswith("/log"):
            name = path.split("/")[-2]
            found = self.logs.get(name)
            return (400, _status(400, f"no log of {name}")) if found is None else (200, found)
        parts = path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            namespace, parts = parts[1], parts[2:]
        plural, name = parts[0], parts[1] if len(parts) > 1 else ""
        if plural in self.forbidden or (plural in self.clusterwide_forbidden and not namespace):
            return 403, _status(403, f"cannot list resource {plural}")
        kept = [o for kind, own in self.objects.items() if kind.plural == plural for o in own]
        kept = [o for o in kept if namespace in ("", o["metadata"].get("namespace", ""))]
        kept = [o for o in kept if _matches(o, query.get("labelSelector", ""))]
        if method == "PATCH":
            self.patches.append((path, body))
            return 200, {}
        if not name:
            return 200, {"items": kept}
        one = next((o for o in kept if o["metadata"]["name"] == name), None)
        return (200, one) if one is not None else (404, _status(404, f"{plural} {name} not found"))


@contextmanager
def of(given: "Given", folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve what is given; KUBECONFIG is that of the server until the context ends."""
    made = Server()
    made.objects = {kind: [dict(one) for one in own] for kind, own in given.seen().stored.items()}
    for one in made.objects[resources.WORKLOADS]:
        one["metadata"]["namespace"] = "default"
    with serving(made, folder) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
        yield made


def _matches(obj: Object, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    wanted = (one.partition("=") for one in selector.split(",") if one)
    return all(
        labels.get(key) == value if equals else key in labels for key, equals, value in wanted
    )


def _status(code: int, message: str) -> Object:
    return {"kind": "Status", "code": code, "reason": f"R{code}", "message": message}


@contextmanager
def serving(server: Server, folder: Path) -> Iterator[str]:
    """Serve until the context ends; gives the path of a kubeconfig."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = parse.urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            query = dict(parse.parse_qsl(url.query))
            status, answer = server.answer(self.command, url.path, query, body)
            data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_PATCH(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    file = folder / "kubeconfig"
    url = f"http://127.0.0.1:{httpd.server_address[1]}"
    file.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "namespace": "default"}}],
                "clusters": [{"name": "c", "cluster": {"server": url}}],
            }
        )
    )
    try:
        yield str(file)
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()
