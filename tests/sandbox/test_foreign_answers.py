"""What a mirror sends in the place of answers is told in words that no terminal obeys."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from lws_kueue_lab.sandbox import cli
from lws_kueue_lab.sandbox.releases import transfer

# It would clear the screen, name the window and turn the line round.
HOSTILE = "\x1b[2J\x1b]0;mine\x07\r‮"
LONG = HOSTILE + "long" * 10_000


@contextlib.contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """The address of a server that says the same to everybody, whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(0.5)
                        with contextlib.suppress(OSError):
                            connection.recv(65536)
                            connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def http(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode(errors="replace") + body


def manifest(**content: object) -> bytes:
    return http("200 OK", json.dumps(content).encode())


# Within a line there is no place for what ends it.
IN_LINE = HOSTILE.replace("\r", "")
PLATFORM = {"os": HOSTILE, "architecture": "long" * 10_000}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-" + HOSTILE.encode() + b"\r\n", id="another protocol"),
        pytest.param(HOSTILE.encode() + b"x" * 60_000 + b"\r\n", id="another long one"),
        pytest.param(http(f"404 {IN_LINE}{'x' * 9000}", LONG.encode()), id="error"),
        pytest.param(http("302 Found", Location=f"http://{IN_LINE}/"), id="redirect"),
        pytest.param(http("302 Found", Location="ftp://" + "long" * 9000), id="far redirect"),
        pytest.param(
            http("401 No", WWW_Authenticate=f'Bearer realm="http://{IN_LINE}/{"x" * 9000}"'),
            id="token",
        ),
        pytest.param(
            http("200 OK", b"{}", Docker_Content_Digest=IN_LINE + "x" * 9000), id="digest"
        ),
        pytest.param(manifest(manifests=[{"platform": PLATFORM}]), id="platforms"),
        pytest.param(manifest(config={"digest": LONG}), id="name of a digest"),
        pytest.param(manifest(config=LONG), id="no manifest"),
        pytest.param(
            manifest(layers=[{"digest": "sha256:" + "0" * 64, "size": float("inf")}]), id="size"
        ),
    ],
)
def test_an_answer_that_is_none_is_told_shortly_and_without_control_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith("LWS_KUEUE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LWS_KUEUE_CACHE", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # Nobody publishes anything here.
    monkeypatch.setattr(transfer, "_PAUSE_SECONDS", 0.01)
    with saying(answer) as address:
        monkeypatch.setenv("LWS_KUEUE_MIRROR", address)
        told = CliRunner().invoke(cli.sandbox_group, ["fetch"])
    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit), told.exception
    error = next(line for line in told.output.splitlines() if line.startswith("Error: "))
    assert len(error) < 2500
    assert all(line.isprintable() for line in told.output.split("\n")), repr(told.output)
