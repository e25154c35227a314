"""Judges a kubeconfig as a value, before anything connects with it.

Stricter than Kueue: whatever would weaken TLS, run a program, read a file of the controller's or
make it somebody else is refused. A fault names the field and never quotes what stands there, not
even the name of a context: what is wrong with a Secret is told in places that more people read.
"""

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib import parse

import yaml
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

# Returns what is in a file that a kubeconfig names. It raises `Refused` where that may not be read.
ReadFile = Callable[[str], bytes]

LARGEST: Final = 2**20

# A kubeconfig is nested six levels deep, `extensions` aside.
_DEEPEST: Final = 64

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_DNS_NAME: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*"
)
# What may stand behind "Bearer" in a header.
_TOKEN: Final = re.compile(r"[!-~]+")

_IMPERSONATION: Final = ("as", "as-uid", "as-groups", "as-user-extra")

_NO_FILE: Final = (
    "names a file: put its content into the kubeconfig, or set "
    "lwsKueue.multiKueue.kubeconfigDirectory"
)


class Refused(Exception):
    """A kubeconfig cannot be used; the message says which field, and why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a cluster is and who we are to it.

    ``authority`` are the certificates that it is trusted by, in PEM, "" for those of the system.
    """

    server: str
    tls_server_name: str = ""
    authority: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    token: str = field(default="", repr=False)

    def scrubbed(self, text: str) -> str:
        """Return what a server says, without the token that it was sent."""
        return text.replace(self.token, "(token)") if self.token else text


def judge(content: bytes, *, now: datetime.datetime, read_file: ReadFile | None = None) -> Endpoint:
    """Return what the current context of a kubeconfig says.

    ``read_file`` reads files that it names, None where it may not name any.

    Raises:
        Refused: it cannot be used.
    """
    config = _mapping(_parsed(content), "the kubeconfig")
    clusters, users = _named(config, "clusters", "cluster"), _named(config, "users", "user")
    for at, cluster in clusters.values():
        _check_any_cluster(at, cluster, read_file)
    for at, user in users.values():
        _path_allowed(user, "tokenFile", at, read_file)
    context = _current(config)
    at, cluster = _referred(context, "cluster", clusters)
    server = _server(_text(cluster, "server", at), f"{at}.server")
    name = _text(cluster, "tls-server-name", at)
    if name and not _is_host(name):
        raise Refused(f"{at}.tls-server-name is neither an IP address nor a DNS name")
    if cluster.get("proxy-url"):
        raise Refused(f"{at}.proxy-url is not served: name a proxy in the controller's environment")
    authority = _authority(cluster, at, read_file)
    at, user = _referred(context, "user", users)
    _check_user(user, at)
    certificate, key = _client_certificate(user, at, read_file, now=now)
    token = _token(user, at, read_file)
    if not token and not certificate:
        raise Refused(f"{at} has neither a token nor a client certificate")
    return Endpoint(
        server=server,
        tls_server_name=name,
        authority=authority,
        certificate=certificate,
        key=key,
        token=token,
    )


def _parsed(content: bytes) -> Any:
    if not content.strip():
        raise Refused("it is empty")
    if len(content) > LARGEST:
        raise Refused(f"it is larger than {LARGEST // 1024} KiB")
    try:
        text = content.decode()
        depth = 0
        # Few aliases can stand for a document of any size, and no kubeconfig needs one.
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise Refused("it has YAML aliases, which are not served")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise Refused(f"it is nested more than {_DEEPEST} levels deep")
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - one of the safe ones
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        # What the parser says of it quotes it. A key that cannot be one is a TypeError.
        raise Refused("it is not YAML") from None


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused(f"{what} is not a mapping")
    return value


def _text(of: Mapping[str, Any], key: str, at: str) -> str:
    value = of.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused(f"{_at(at, key)} is not a text")
    return value


def _at(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


_Entries = Mapping[str, tuple[str, Mapping[str, Any]]]


def _named(config: Mapping[str, Any], plural: str, singular: str) -> _Entries:
    """Return the entries of a list by name, each with the path of its content."""
    entries = config.get(plural) or []
    if not isinstance(entries, list):
        raise Refused(f"{plural} is not a list")
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for number, entry in enumerate(entries):
        at = f"{plural}[{number}]"
        name = _text(_mapping(entry, at), "name", at)
        if name in found:
            raise Refused(f"{at}.name is that of another entry")
        found[name] = (f"{at}.{singular}", _mapping(entry.get(singular) or {}, f"{at}.{singular}"))
    return found


def _current(config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    contexts = _named(config, "contexts", "context")
    name = _text(config, "current-context", "")
    if not name:
        raise Refused("current-context is missing")
    if name not in contexts:
        raise Refused("current-context names a context that is not there")
    return contexts[name]


def _referred(
    context: tuple[str, Mapping[str, Any]], what: str, entries: _Entries
) -> tuple[str, Mapping[str, Any]]:
    at, content = context
    name = _text(content, what, at)
    if not name:
        raise Refused(f"{at}.{what} is missing")
    if name not in entries:
        raise Refused(f"{at}.{what} names a {what} that is not there")
    return entries[name]


def _check_any_cluster(at: str, cluster: Mapping[str, Any], read_file: ReadFile | None) -> None:
    """Refuse what Kueue refuses of any cluster, whichever context uses it."""
    if cluster.get("insecure-skip-tls-verify") not in (None, False):
        raise Refused(f"{at}.insecure-skip-tls-verify is never served")
    if not _text(cluster, "server", at):
        raise Refused(f"{at}.server is missing")
    _path_allowed(cluster, "certificate-authority", at, read_file)


def _path_allowed(of: Mapping[str, Any], key: str, at: str, read_file: ReadFile | None) -> None:
    if _text(of, key, at) and read_file is None:
        raise Refused(f"{at}.{key} {_NO_FILE}")


def _server(text: str, at: str) -> str:
    try:
        if not re.fullmatch(r"[!-~]+", text):
            raise ValueError
        url = parse.urlsplit(text)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise Refused(f"{at} is not a URL") from None
    if url.scheme.lower() != "https":
        raise Refused(f"{at} does not begin with https://")
    if "@" in url.netloc:
        raise Refused(f"{at} has a user in it")
    # Also one that is empty.
    if "?" in text or "#" in text:
        raise Refused(f"{at} has a query or a fragment")
    if not _is_host(host):
        raise Refused(f"{at} names a host that is neither an IP address nor a DNS name")
    return text.rstrip("/")


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        # Digits and dots that are no address would be looked up as a name, or read as another one.
        return bool(_DNS_NAME.fullmatch(text.lower())) and not re.fullmatch(r"[0-9.]+", text)
    return True


def _check_user(user: Mapping[str, Any], at: str) -> None:
    if user.get("exec"):
        raise Refused(f"{at}.exec is not served: lws-kueue runs no programs for credentials")
    if user.get("auth-provider"):
        raise Refused(f"{at}.auth-provider is not served")
    for key in ("username", "password"):
        if user.get(key):
            raise Refused(f"{at}.{key} is not served: use a token or a client certificate")
    for key in _IMPERSONATION:
        if user.get(key):
            raise Refused(f"{at}.{key} is not served: give the identity its own credentials")


def _data(of: Mapping[str, Any], key: str, at: str, read_file: ReadFile | None) -> bytes:
    """Return what a field with data has, or the file that the field without it names."""
    text, path = _text(of, f"{key}-data", at), _text(of, key, at)
    if text:
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise Refused(f"{at}.{key}-data is not base64") from None
    _path_allowed(of, key, at, read_file)
    return _file(path, f"{at}.{key}", read_file)


def _file(path: str, at: str, read_file: ReadFile | None) -> bytes:
    if not path or read_file is None:
        return b""
    try:
        return read_file(path)
    except Refused as error:
        raise Refused(f"{at} {error}") from None


def _authority(cluster: Mapping[str, Any], at: str, read_file: ReadFile | None) -> str:
    data = _data(cluster, "certificate-authority", at, read_file)
    if data:
        _certificates(data, f"{at}.certificate-authority")
    return data.decode(errors="replace")


def _certificates(data: bytes, at: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise Refused(f"{at} has no certificate in PEM") from None


def _client_certificate(
    user: Mapping[str, Any], at: str, read_file: ReadFile | None, *, now: datetime.datetime
) -> tuple[bytes, bytes]:
    data = _data(user, "client-certificate", at, read_file)
    secret = _data(user, "client-key", at, read_file)
    if not data and not secret:
        return b"", b""
    if not data:
        raise Refused(f"{at}.client-key has no client-certificate beside it")
    if not secret:
        raise Refused(f"{at}.client-certificate has no client-key beside it")
    first = _certificates(data, f"{at}.client-certificate")[0]
    try:
        key = serialization.load_pem_private_key(secret, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused(f"{at}.client-key has no key in PEM that can be read") from None
    if _public(key.public_key()) != _public(first.public_key()):
        raise Refused(f"{at}.client-key is not that of client-certificate")
    if first.not_valid_after_utc <= now:
        raise Refused(f"{at}.client-certificate expired on {_date(first.not_valid_after_utc)}")
    if first.not_valid_before_utc > now:
        since = _date(first.not_valid_before_utc)
        raise Refused(f"{at}.client-certificate is not valid before {since}")
    return data, secret


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _date(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _token(user: Mapping[str, Any], at: str, read_file: ReadFile | None) -> str:
    token, key = _text(user, "token", at), "token"
    if not token and (path := _text(user, "tokenFile", at)):
        key = "tokenFile"
        token = _file(path, f"{at}.{key}", read_file).decode(errors="replace").strip()
        if not token:
            raise Refused(f"{at}.{key} names a file that is empty")
    if token and not _TOKEN.fullmatch(token):
        raise Refused(f"{at}.{key} has characters that no token has")
    return token
