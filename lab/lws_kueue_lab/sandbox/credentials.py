"""Random credentials of one sandbox: a certificate authority, a serving certificate, tokens.

Everything is made anew for each sandbox and lives in its private directory. Elliptic-curve keys
are used because making them takes a millisecond, where RSA would delay each start.
"""

import base64
import dataclasses
import datetime
import ipaddress
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from lws_kueue_lab.sandbox import certificates

LONG_TOKEN_SECONDS = 365 * 24 * 3600

# Who talks to the API server, with the groups that give the rights. kwok plays the kubelet and
# writes nodes, leases, pods and their status, for which no built-in role exists.
_USERS = {
    "admin": ("sandbox-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("sandbox-kwok", "system:masters"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """Where the credentials of a sandbox lie, and the secrets that kubeconfigs repeat."""

    directory: Path
    tokens: dict[str, str]

    @property
    def ca_certificate(self) -> Path:
        """The certificate authority that signed the serving certificate."""
        return self.directory / "ca.crt"

    @property
    def serving_certificate(self) -> Path:
        """What the API server shows."""
        return self.directory / "apiserver.crt"

    @property
    def serving_key(self) -> Path:
        """The key of the serving certificate."""
        return self.directory / "apiserver.key"

    @property
    def service_account_key(self) -> Path:
        """The key that signs tokens of service accounts."""
        return self.directory / "service-accounts.key"

    @property
    def token_file(self) -> Path:
        """Who each token stands for, in the API server's format."""
        return self.directory / "tokens.csv"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of `user`, which is the name of a component or `admin`."""
        return self.directory / f"{user}.kubeconfig"

    def write_kubeconfigs(self, *, server: str, users: Sequence[str] = tuple(_USERS)) -> None:
        """Write the kubeconfig of each of `users` for the API server at the URL `server`."""
        for user in users:
            write_kubeconfig(
                self.kubeconfig(user),
                server=server,
                ca_data=self.ca_certificate.read_bytes(),
                token=self.tokens[user],
                user=user,
            )


def create(directory: Path, *, hosts: Sequence[str] = ()) -> Credentials:
    """Make all credentials in `directory`; the serving certificate also names `hosts`."""
    directory.mkdir(mode=0o700, exist_ok=True)
    made = Credentials(
        directory=directory, tokens={user: secrets.token_urlsafe(32) for user in _USERS}
    )
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_certificate = _ca_certificate(ca_key)
    serving_key = ec.generate_private_key(ec.SECP256R1())
    serving_certificate = _serving_certificate(
        serving_key, ca_key=ca_key, ca=ca_certificate, hosts=hosts
    )
    _write(made.ca_certificate, ca_certificate.public_bytes(serialization.Encoding.PEM))
    _write(made.serving_certificate, serving_certificate.public_bytes(serialization.Encoding.PEM))
    _write(made.serving_key, certificates.pem(serving_key))
    _write(made.service_account_key, certificates.pem(ec.generate_private_key(ec.SECP256R1())))
    rows = [
        f'{made.tokens[user]},{name},{name},"{groups}"' for user, (name, groups) in _USERS.items()
    ]
    _write(made.token_file, "\n".join([*rows, ""]).encode())
    return made


def write_kubeconfig(path: Path, *, server: str, ca_data: bytes, token: str, user: str) -> None:
    """Write a kubeconfig with one bearer token; readable by its owner alone."""
    _write(path, kubeconfig(server=server, ca_data=ca_data, token=token, user=user))


def kubeconfig(*, server: str, ca_data: bytes, token: str, user: str) -> bytes:
    """Return the content of a kubeconfig with one bearer token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "sandbox",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": base64.b64encode(ca_data).decode(),
                },
            }
        ],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": user}}],
        "current-context": "sandbox",
    }
    # JSON is YAML, and every kubeconfig reader takes it.
    return json.dumps(config, indent=2).encode()


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = certificates.name("sandbox-ca")
    return (
        certificates.builder(subject=name, issuer=name, key=key, now=_now())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _serving_certificate(
    key: ec.EllipticCurvePrivateKey,
    *,
    ca_key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    hosts: Sequence[str],
) -> x509.Certificate:
    names = ["localhost", "127.0.0.1", "kubernetes", "kubernetes.default.svc", *hosts]
    return (
        certificates.builder(
            subject=certificates.name("kube-apiserver"), issuer=ca.subject, key=key, now=_now()
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Strict verifiers, Python's among them, ask for both identifiers.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), False)
        .sign(ca_key, hashes.SHA256())
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
