"""What Kueue's webhooks do to pods and StatefulSets that name no queue, beside a queue `default`.

They find nothing above them which Kueue manages (kueue-contract 3.6): a pod is put into the queue,
held and marked; a StatefulSet is put into the queue, and its template marked. Served by this
process, so that they can be had where no Kueue is at hand.
"""

import base64
import contextlib
import datetime
import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lws_kueue_lab.sandbox import client, manager_certificate

from lws_kueue.api import names

Object = dict[str, Any]

DEFAULT_QUEUE: Final = "default"
_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_CONFIGURATION: Final = "MutatingWebhookConfiguration"


def mark_pod(pod: Object) -> None:
    """Hold a pod for an admission of its own."""
    meta, spec = pod["metadata"], pod["spec"]
    held_for_another = names.POD_SUSPENDING_PARENT in (meta.get("annotations") or {})
    if not held_for_another:
        labels = meta.setdefault("labels", {})
        labels.setdefault(names.QUEUE_NAME, DEFAULT_QUEUE)
        labels[names.MANAGED] = "true"
        meta.setdefault("finalizers", []).append(names.MANAGED)
    gates = spec.setdefault("schedulingGates", [])
    for gate in (names.ADMISSION_GATE, names.KUEUE_PREFIX + "topology"):
        if gate not in [found["name"] for found in gates]:
            gates.append({"name": gate})
    meta.setdefault("annotations", {})[names.ROLE_HASH] = "0123abcd"


def mark_stateful_set(made: Object) -> None:
    """Put a StatefulSet into the queue, unless its template says that it is somebody else's."""
    template = made["spec"]["template"].setdefault("metadata", {})
    annotations = template.get("annotations") or {}
    if (
        annotations.get(names.POD_SUSPENDING_PARENT, names.KUEUE_STATEFULSET_FRAMEWORK)
        != names.KUEUE_STATEFULSET_FRAMEWORK
    ):
        return
    made["metadata"].setdefault("labels", {}).setdefault(names.QUEUE_NAME, DEFAULT_QUEUE)
    template["annotations"] = annotations | {
        names.POD_SUSPENDING_PARENT: names.KUEUE_STATEFULSET_FRAMEWORK
    }


_MARKS: Final[Mapping[str, Callable[[Object], None]]] = {
    "/pods": mark_pod,
    "/statefulsets": mark_stateful_set,
}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        changed = review["request"]["object"]
        _MARKS[self.path.partition("?")[0]](changed)
        parts = ("metadata", "spec")
        patch = [{"op": "replace", "path": f"/{part}", "value": changed[part]} for part in parts]
        response = {
            "uid": review["request"]["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        body = json.dumps({**{k: review[k] for k in ("apiVersion", "kind")}, "response": response})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(api: client.Client, *, namespace: str, folder: Path) -> Iterator[None]:
    """Let these webhooks act in one namespace while the context is open.

    ``folder`` takes the certificate. The API server acts on a webhook a moment after it was made.
    """
    made = manager_certificate.make(
        "webhooks.test", authority="test", now=datetime.datetime.now(tz=datetime.UTC)
    )
    certificate = folder / "webhooks.pem"
    certificate.write_bytes(made.certificate + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    name = f"eager-{namespace}"
    authority = base64.b64encode(made.ca_certificate).decode()
    api.create(
        {
            "apiVersion": _ADMISSION,
            "kind": _CONFIGURATION,
            "metadata": {"name": name},
            "webhooks": [
                {
                    "name": f"{plural}.eager.test",
                    "clientConfig": {
                        "url": f"https://127.0.0.1:{server.server_port}/{plural}",
                        "caBundle": authority,
                    },
                    "namespaceSelector": {
                        "matchLabels": {"kubernetes.io/metadata.name": namespace}
                    },
                    "rules": [
                        {
                            "apiGroups": [group],
                            "apiVersions": ["v1"],
                            "operations": operations,
                            "resources": [plural],
                        }
                    ],
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                }
                for group, plural, operations in (
                    ("", "pods", ["CREATE"]),
                    ("apps", "statefulsets", ["CREATE", "UPDATE"]),
                )
            ],
        }
    )
    try:
        yield
    finally:
        api.delete(_ADMISSION, _CONFIGURATION, name)
        server.shutdown()
        thread.join()
        server.server_close()
