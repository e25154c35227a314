"""A mutating webhook as others run them: a server on loopback with a certificate of its own."""

import base64
import contextlib
import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lws_kueue_lab import sandbox
from lws_kueue_lab.sandbox import manager_certificate

Object = dict[str, Any]
# The operations of a JSON patch for a pod that is created.
Change = Callable[[Object], list[Object]]

CONFIGURATION = ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")


class Refusal(Exception):
    """Raised by a change: the webhook refuses the pod, with this text."""


@contextlib.contextmanager
def mutating_pods(
    cluster: sandbox.Sandbox, folder: Path, *, namespace: str, change: Change
) -> Iterator[None]:
    """Change the pods that are created in a namespace, until the context ends."""
    made = manager_certificate.make(
        "neighbour.test", authority="neighbour", now=datetime.datetime.now(datetime.UTC)
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(change))
    server.daemon_threads = True
    server.socket = _context(made, folder).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    port = server.server_address[1]
    try:
        cluster.api.create(_configuration(namespace, port=port, authority=made.ca_certificate))
        _wait_until_asked(cluster, namespace)
        yield
    finally:
        cluster.api.delete(*CONFIGURATION, namespace, missing_ok=True)
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def _context(made: manager_certificate.ServingCertificate, folder: Path) -> ssl.SSLContext:
    chain, key = folder / "webhook.crt", folder / "webhook.key"
    chain.write_bytes(made.certificate)
    key.write_bytes(made.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    return context


def _configuration(namespace: str, *, port: int, authority: bytes) -> Object:
    api_version, kind = CONFIGURATION
    webhook = {
        "name": "neighbour.e2e.lws-kueue.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/mutate",
            "caBundle": base64.b64encode(authority).decode(),
        },
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }
        ],
    }
    metadata = {"name": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "webhooks": [webhook]}


def _wait_until_asked(cluster: sandbox.Sandbox, namespace: str) -> None:
    """An API server asks a webhook a moment after it was told of it."""
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace, "labels": {_PROBE: ""}},
        "spec": {"containers": [{"name": "c", "image": "probe"}]},
    }

    def asked(_: object) -> bool:
        answer = cluster.api.create(probe, dry_run=True)
        return (answer["metadata"].get("annotations") or {}).get(_PROBE) == "seen"

    deadline = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    while not asked(None):
        assert datetime.datetime.now(datetime.UTC) < deadline, "the webhook is not asked"


_PROBE = "e2e.lws-kueue.dev/probe"


def _handler(change: Change) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers reviews of pods."""

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            review = json.loads(self.rfile.read(length))
            answer = _answer(review["request"], change)
            body = json.dumps(
                {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _answer(request: Object, change: Change) -> Object:
    pod = request["object"]
    if _PROBE in (pod["metadata"].get("labels") or {}):
        patch = [{"op": "add", "path": "/metadata/annotations", "value": {_PROBE: "seen"}}]
    else:
        try:
            patch = change(pod)
        except Refusal as refusal:
            status = {"code": 403, "message": str(refusal)}
            return {"uid": request["uid"], "allowed": False, "status": status}
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": encoded}
