"""The admission webhook by which pods get Kueue's marks, on loopback.

Kueue's own is a webhook too, so it acts at the same point of a request: after all policies. As
with Kueue's, pods are refused while nobody answers (`failurePolicy: Fail`). Whoever starts the
stand-in takes the configuration away when it has ended.
"""

import base64
import contextlib
import datetime
import http.server
import json
import logging
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lws_kueue.api import names
from lws_kueue_lab.kueue_standin import pod_marks, schemas
from lws_kueue_lab.sandbox import client, manager_certificate

Json = dict[str, Any]
Mark = Callable[[Json, str], Json]

NAME: Final = "pods.stand-in-for-kueue.test"
CONFIGURATION: Final = ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
_PATH: Final = "/mutate-pod"
_ACTIVE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05

_log = logging.getLogger(__name__)


def serve(api: client.Client, mark: Mark) -> None:
    """Answer for new pods from now on, in threads that end with the process.

    ``mark`` returns a pod of a namespace as it is to be. Returns once the API server asks.
    """
    made = manager_certificate.make(
        "localhost", authority="stand-in-ca", now=datetime.datetime.now(datetime.UTC)
    )
    server = _Server(mark)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
        certificate.write_bytes(made.certificate)
        key.write_bytes(made.key)
        context.load_cert_chain(certificate, key)
    # The handshake is for the thread of the connection, not for the one that takes them all.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    threading.Thread(target=server.serve_forever, name="webhook", daemon=True).start()
    api.apply(_configuration(server.server_port, made.ca_certificate))
    _wait_until_asked(api)


def remove(api: client.Client) -> None:
    """Take the configuration away, which refuses every pod once nobody answers."""
    api.delete(*CONFIGURATION, NAME, missing_ok=True)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, mark: Mark) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.mark = mark

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say little: the API server may drop a connection whenever it likes."""
        _log.debug("connection of %s (%s)", client_address, request, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes, of which the second would wait for an acknowledgement.
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        """Answer one AdmissionReview."""
        length = int(self.headers["Content-Length"])
        review = json.loads(self.rfile.read(length))
        body = json.dumps(answer(review, self.server.mark)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the audit log of the API server has it all."""


def answer(review: Json, mark: Mark) -> Json:
    """Return the AdmissionReview that answers one about a new pod."""
    request = review["request"]
    pod = request["object"]
    response: Json = {"uid": request["uid"], "allowed": True}
    try:
        made = mark(pod, request["namespace"])
    except pod_marks.OwnerMissingError as error:
        response |= {"allowed": False, "status": {"code": 403, "message": str(error)}}
    else:
        changed = [part for part in ("metadata", "spec") if made[part] != pod[part]]
        patch = [{"op": "replace", "path": f"/{part}", "value": made[part]} for part in changed]
        if patch:
            encoded = base64.b64encode(json.dumps(patch).encode()).decode()
            response |= {"patchType": "JSONPatch", "patch": encoded}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _configuration(port: int, authority: bytes) -> Json:
    return {
        "apiVersion": CONFIGURATION[0],
        "kind": CONFIGURATION[1],
        "metadata": {"name": NAME, "annotations": {schemas.ANNOTATION: "true"}},
        "webhooks": [
            {
                "name": NAME,
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}{_PATH}",
                    "caBundle": base64.b64encode(authority).decode(),
                },
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "namespaceSelector": {
                    "matchExpressions": [
                        {
                            "key": "kubernetes.io/metadata.name",
                            "operator": "NotIn",
                            "values": ["kube-system", "kueue-system"],
                        }
                    ]
                },
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods"],
                    }
                ],
            }
        ],
    }


def _wait_until_asked(api: client.Client) -> None:
    """Wait until the answer shows in a pod; an API server takes a moment to notice a webhook."""
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "stand-in-probe",
            "namespace": "default",
            "annotations": {names.POD_SUSPENDING_PARENT: "stand-in"},
        },
        "spec": {"containers": [{"name": "c", "image": "image"}]},
    }
    deadline = time.monotonic() + _ACTIVE_SECONDS
    while time.monotonic() < deadline:
        # Its service account may not be there yet.
        with contextlib.suppress(client.ApiError):
            if api.create(probe, dry_run=True)["spec"].get("schedulingGates"):
                return
        time.sleep(_POLL_SECONDS)
    _log.warning("the API server does not ask the webhook: pods stay without Kueue's marks")
