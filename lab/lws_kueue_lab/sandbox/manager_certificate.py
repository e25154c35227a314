"""The serving certificate of a manager with webhooks that runs outside of a cluster.

Managers such as Kueue's rotate their certificates by themselves. They keep one that they find
only when the authority carries the name that they expect, the server certificate the name of
their webhook Service, and both are valid for at least 90 more days. The address by which the
API server really reaches the manager, loopback, is added.
"""

import dataclasses
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import oid

from lws_kueue_lab.sandbox import certificates


@dataclasses.dataclass(frozen=True, slots=True)
class ServingCertificate:
    """A certificate authority and a server certificate signed by it, all PEM."""

    ca_certificate: bytes
    ca_key: bytes
    certificate: bytes
    key: bytes


def make(host: str, *, authority: str, now: datetime.datetime) -> ServingCertificate:
    """Make a certificate for `host` and 127.0.0.1; it is valid for a year from `now`.

    `authority` is the name of the certificate authority that signs it.
    """
    # The rotation reads the authority's key, and it reads RSA in the traditional form alone.
    ca_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ca_name = certificates.name(authority)
    ca = (
        certificates.builder(subject=ca_name, issuer=ca_name, key=ca_key, now=now)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(authority)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    hosts = [x509.DNSName(host), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    server = (
        # The host is an alternative name alone: a common name ends at 64 characters.
        certificates.builder(subject=certificates.name("webhook"), issuer=ca_name, key=key, now=now)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return ServingCertificate(
        ca_certificate=ca.public_bytes(serialization.Encoding.PEM),
        ca_key=certificates.pem(ca_key),
        certificate=server.public_bytes(serialization.Encoding.PEM),
        key=certificates.pem(key),
    )
