"""Where the API server is and who we are to it, out of kubeconfig files, as kubectl reads them.

The library that does so for the controller takes longer to load than most answers take. Files are
merged as kubectl does: what comes first counts. Credentials are certificates, tokens, passwords and
exec plugins; impersonation is kept.
"""

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from lws_kueue.runtime import asking

# Where a pod finds what it is.
_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_DEFAULT: Final = "~/.kube/config"
_LISTS: Final = ("clusters", "users", "contexts")
_EXEC_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Access:
    """All that a request needs; certificates and keys are PEM texts, "" for none.

    ``namespace`` is that of the context, ``headers`` say who asks. ``verify`` False takes any
    server; ``server_name`` is the name that its certificate is checked for, "" for that in the URL.
    """

    server: str
    namespace: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict)
    authority: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True
    server_name: str = ""
    proxy: str = ""


def load(
    *, kubeconfig: str | None, context: str | None, environment: Mapping[str, str] = os.environ
) -> Access:
    """Return the access that a context gives, the current one for None.

    Without a ``kubeconfig`` it is that of KUBECONFIG, or of the home directory, or of the pod.

    Raises:
        asking.NoServerError: nothing says it, or what says it cannot be used; with what to change.
    """
    files = _files(kubeconfig, environment)
    if not files:
        if (pod := _of_pod(environment)) is not None and context is None:
            return pod
        raise asking.NoServerError(
            "no kubeconfig: give --kubeconfig FILE or set KUBECONFIG, or write ~/.kube/config"
        )
    merged = _merged(files)
    name = context or merged["current-context"]
    if not name:
        raise asking.NoServerError(
            f"no current context in {_named(files)}: give --context, one of {_known(merged)}"
        )
    chosen = merged["contexts"].get(name)
    if chosen is None:
        raise asking.NoServerError(
            f"no context {name} in {_named(files)}: give --context, one of {_known(merged)}"
        )
    cluster = merged["clusters"].get(chosen.get("cluster"))
    if cluster is None or not cluster.get("server"):
        raise asking.NoServerError(
            f"context {name} in {_named(files)} names no cluster with a server: set one with"
            " kubectl config set-cluster"
        )
    user = merged["users"].get(chosen.get("user")) or {}
    return _access(cluster, user, namespace=chosen.get("namespace") or "default")


def contexts(*, kubeconfig: str | None, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names of all contexts."""
    return sorted(_merged(_files(kubeconfig, environment))["contexts"])


def _files(kubeconfig: str | None, environment: Mapping[str, str]) -> list[Path]:
    if kubeconfig:
        path = Path(kubeconfig)
        if not path.is_file():
            raise asking.NoServerError(f"--kubeconfig {kubeconfig}: there is no such file")
        return [path]
    given = environment.get("KUBECONFIG") or _DEFAULT
    found = (Path(one).expanduser() for one in given.split(os.pathsep) if one)
    return [path for path in found if path.is_file()]


def _named(files: Iterable[Path]) -> str:
    return ", ".join(map(str, files))


def _known(merged: Mapping[str, Any]) -> str:
    return ", ".join(sorted(merged["contexts"])) or "which there are none"


def _merged(files: Iterable[Path]) -> dict[str, Any]:
    """Return the entries of all files by name; paths are made those from the file's folder."""
    merged: dict[str, Any] = {"current-context": "", **{kind: {} for kind in _LISTS}}
    for path in files:
        try:
            # Without anchors and tags a kubeconfig is the YAML that every loader reads.
            stored = yaml.load(path.read_text(), Loader=_LOADER) or {}  # noqa: S506
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise asking.NoServerError(f"kubeconfig {path} cannot be used: {why}") from error
        if not isinstance(stored, dict):
            raise asking.NoServerError(f"kubeconfig {path} cannot be used: it is no map")
        merged["current-context"] = merged["current-context"] or stored.get("current-context", "")
        for kind in _LISTS:
            for entry in stored.get(kind) or ():
                body = dict(entry.get(kind[:-1]) or {})
                for name in _PATHS & body.keys():
                    body[name] = str(path.parent / body[name])
                merged[kind].setdefault(entry.get("name"), body)
    return merged


_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PATHS: Final = {"certificate-authority", "client-certificate", "client-key", "tokenFile"}


def _access(cluster: Mapping[str, Any], user: Mapping[str, Any], *, namespace: str) -> Access:
    if "auth-provider" in user and "exec" not in user:
        raise asking.NoServerError(
            "the user of this context has an auth-provider, which Kubernetes has given up: use an"
            " exec plugin, as kubectl asks for"
        )
    given = {**user, **_executed(user["exec"], cluster)} if user.get("exec") else user
    headers: dict[str, str] = {}
    if token := given.get("token") or _text(given.get("tokenFile")):
        headers["Authorization"] = f"Bearer {token.strip()}"
    elif given.get("username"):
        pair = f"{given['username']}:{given.get('password', '')}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    if user.get("as"):
        headers["Impersonate-User"] = str(user["as"])
    return Access(
        server=str(cluster["server"]).rstrip("/"),
        namespace=namespace,
        headers=headers,
        authority=_pem(cluster, "certificate-authority"),
        certificate=_pem(given, "client-certificate"),
        key=_pem(given, "client-key"),
        verify=not cluster.get("insecure-skip-tls-verify"),
        server_name=cluster.get("tls-server-name") or "",
        proxy=cluster.get("proxy-url") or "",
    )


def _pem(given: Mapping[str, Any], name: str) -> str:
    """Return a PEM text that stands in the file itself, or in one that it names."""
    if data := given.get(f"{name}-data"):
        try:
            return base64.b64decode(data, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, TypeError) as error:
            raise asking.NoServerError(f"{name}-data of the kubeconfig is no base64") from error
    return _text(given.get(name))


def _text(path: str | None) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text()
    except OSError as error:
        raise asking.NoServerError(f"the kubeconfig names {path}: {error.strerror}") from error


def _executed(plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Return the credentials that a plugin prints."""
    version = plugin.get("apiVersion", "client.authentication.k8s.io/v1")
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {
            name: cluster[name]
            for name in ("server", "certificate-authority-data")
            if name in cluster
        }
    asked = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})
    own = {one["name"]: one["value"] for one in plugin.get("env") or ()}
    command = [plugin.get("command", ""), *(plugin.get("args") or ())]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **own, "KUBERNETES_EXEC_INFO": asked},
            stdout=subprocess.PIPE,
            check=True,
            timeout=_EXEC_SECONDS,
        )
        status = json.loads(done.stdout).get("status") or {}
    except (OSError, ValueError, AttributeError, subprocess.SubprocessError) as error:
        hint = f". {plugin['installHint']}" if plugin.get("installHint") else ""
        raise asking.NoServerError(f"exec plugin {command[0]} failed: {error}{hint}") from error
    pairs = {"client-certificate-data": "clientCertificateData", "client-key-data": "clientKeyData"}
    encoded = {
        name: base64.b64encode(status[field].encode()).decode()
        for name, field in pairs.items()
        if status.get(field)
    }
    return {**encoded, **({"token": status["token"]} if status.get("token") else {})}


def _of_pod(environment: Mapping[str, str]) -> Access | None:
    host, token = environment.get("KUBERNETES_SERVICE_HOST"), _POD / "token"
    if not host or not token.is_file():
        return None
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    return Access(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        namespace=(_POD / "namespace").read_text().strip() or "default",
        headers={"Authorization": f"Bearer {token.read_text().strip()}"},
        authority=(_POD / "ca.crt").read_text(),
    )
