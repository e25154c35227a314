"""Serves the metrics: HTTPS, for those who may read them (lws-contract 9.3).

The certificate is taken from the directory that the Go manager looks into, and followed when it is
renewed there; otherwise the process signs one for itself, which only keeps listeners out.
"""

import asyncio
import contextlib
import datetime
import logging
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import oid
from prometheus_client import exposition

from lws_kueue.manager.serve import authorization, endpoint, tls
from lws_kueue.manager.settings import configuration
from lws_kueue.runtime import client, metrics

PATH: Final = "/metrics"
_CERTIFICATES: Final = Path("k8s-metrics-server", "serving-certs")
_CERTIFICATE: Final = "tls.crt"
_KEY: Final = "tls.key"
_LOOK_SECONDS: Final = 10.0
_VALID: Final = datetime.timedelta(days=3650)

logger = logging.getLogger(__name__)


def application(judge: authorization.Access) -> web.Application:
    """Return the server; everything but `/metrics` is unknown, to those who may ask."""

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        verdict = await judge.verdict(
            authorization=request.headers.get("Authorization", ""),
            path=request.path,
            verb=request.method.lower(),
        )
        if verdict.allowed:
            return await handler(request)
        return web.Response(status=verdict.status, text=verdict.text)

    async def answer(request: web.Request) -> web.Response:
        encode, content_type = exposition.choose_encoder(request.headers.get("Accept", ""))
        body = encode(metrics.REGISTRY)
        response = web.Response(body=body, headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    app = web.Application(middlewares=[guard])
    app.router.add_get(PATH, answer)
    return app


@contextlib.asynccontextmanager
async def serving(
    settings: configuration.Metrics,
    *,
    security: configuration.Tls,
    api: client.Client,
    certificates: Path | None = None,
) -> AsyncIterator[None]:
    """Serve metrics for as long as the context is open, if an address is set.

    Raises:
        ConfigurationError: the address cannot be had, or the certificate is not usable.
    """
    if settings.address is None:
        yield
        return
    folder = certificates or Path(tempfile.gettempdir()) / _CERTIFICATES
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    tls.restrict(context, min_version=security.min_version, suites=security.cipher_suites)
    try:
        origin = await asyncio.to_thread(_load, context, folder)
    except (OSError, ValueError) as error:
        raise configuration.ConfigurationError(
            f"cannot serve metrics with a certificate from {folder}: {error}"
        ) from error
    following = asyncio.create_task(_follow(context, folder), name="metrics-certificate")
    app = application(authorization.Access(api))
    try:
        async with endpoint.serving(app, address=settings.address, what="metrics", tls=context):
            logger.info("Metrics are served at %s, %s", settings.address, origin)
            yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _load(context: ssl.SSLContext, folder: Path) -> str:
    """Give the server a certificate; returns where it is from, in words."""
    if (folder / _CERTIFICATE).exists() and (folder / _KEY).exists():
        context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
        return f"with the certificate in {folder}"
    # The library reads keys from files only.
    with tempfile.TemporaryDirectory(prefix="lws-kueue-") as directory:
        certificate, key = _self_signed()
        own = Path(directory)
        (own / _KEY).touch(mode=0o600)
        (own / _KEY).write_bytes(key)
        (own / _CERTIFICATE).write_bytes(certificate)
        context.load_cert_chain(own / _CERTIFICATE, own / _KEY)
    return "with a certificate of its own making"


def _self_signed() -> tuple[bytes, bytes]:
    """Return a certificate and its key; RSA, because suites can be configured that need it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, host[:64])])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _stamp(folder: Path) -> tuple[int, ...]:
    """Return what changes when the files do; empty while one of them is missing."""
    try:
        return tuple((folder / name).stat().st_mtime_ns for name in (_CERTIFICATE, _KEY))
    except OSError:
        return ()


async def _follow(
    context: ssl.SSLContext, folder: Path, *, interval: float = _LOOK_SECONDS
) -> None:
    """Take a renewed certificate for connections from then on."""
    known = _stamp(folder)
    while True:
        await asyncio.sleep(interval)
        found = _stamp(folder)
        if not found or found == known:
            continue
        try:
            context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
        except (OSError, ValueError) as error:
            # Half a renewal, perhaps: the old one stays, and is looked after again.
            logger.warning("The certificate in %s cannot be used: %s", folder, error)
            continue
        known = found
        logger.info("The certificate in %s was renewed", folder)
