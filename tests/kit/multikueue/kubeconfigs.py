"""Certificates that are good and bad in every way, and kubeconfigs with them."""

import base64
import datetime
import functools
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from lws_kueue_lab.sandbox import certificates

Object = dict[str, Any]
Edit = Callable[[Object], None]

NOW: Final = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
# In every kubeconfig of the tests, and nowhere in what is told of one.
TOKEN: Final = "s3cr3t-t0ken-never-to-be-told"
YEAR: Final = datetime.timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


@functools.cache
def _authority_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def authority(name: str = "ca") -> Pair:
    """Return a certificate authority."""
    return _authority(name)


@functools.cache
def _authority(name: str) -> Pair:
    key = _authority_key(name)
    subject = certificates.name(name)
    built = certificates.builder(subject=subject, issuer=subject, key=key, now=NOW)
    public = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    built = (
        built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(public, critical=False)
    )
    return _pair(built.sign(key, hashes.SHA256()), key)


@functools.cache
def signed(
    name: str = "client",
    *,
    by: str = "ca",
    address: str = "127.0.0.1",
    begun: datetime.datetime = NOW,
) -> Pair:
    """Return a certificate for clients and for the server at an address, valid for a year."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _authority_key(by)
    built = certificates.builder(
        subject=certificates.name(name), issuer=certificates.name(by), key=key, now=begun
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    of = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
    built = built.add_extension(names, critical=False).add_extension(of, critical=False)
    return _pair(built.sign(issuer, hashes.SHA256()), key)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Pair(pem, certificates.pem(key))


def encoded(content: bytes) -> str:
    """Return how a kubeconfig or a Secret has it."""
    return base64.b64encode(content).decode()


def kubeconfig(
    server: str = "https://127.0.0.1:6443", *, token: str = TOKEN, authority_name: str = "ca"
) -> Object:
    """Return a good one."""
    data = encoded(authority(authority_name).certificate)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "ctx",
        "contexts": [{"name": "ctx", "context": {"cluster": "there", "user": "us"}}],
        "clusters": [
            {"name": "there", "cluster": {"server": server, "certificate-authority-data": data}}
        ],
        "users": [{"name": "us", "user": {"token": token}}],
    }


def text(config: Object) -> bytes:
    """Return it as it stands in a Secret."""
    return yaml.safe_dump(config).encode()


def with_certificate(config: Object, pair: Pair) -> None:
    """Put a client certificate in the place of the token."""
    config["users"][0]["user"] = {
        "client-certificate-data": encoded(pair.certificate),
        "client-key-data": encoded(pair.key),
    }
