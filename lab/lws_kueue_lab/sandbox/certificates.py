"""What the certificates of a sandbox have in common, whoever serves with them."""

import datetime
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import oid

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def builder(
    *, subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime.datetime
) -> x509.CertificateBuilder:
    """Begin a certificate that is valid for a year from ``now``."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of containers and virtual machines may lag a little.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365))
    )


def name(common_name: str) -> x509.Name:
    """Return a name that is a common name alone."""
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, common_name)])


def pem(key: PrivateKey) -> bytes:
    """Return a key in the traditional encoding: what reads these keys knows no other."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
