"""A store that answers badly: what is tried again, what is not, and what the caller is
told.
"""

from __future__ import annotations

import io
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from shared.errors import NotFound, PermanentError, StorageUnavailable
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.s3 import http
from shared.s3.store import S3Store

FACTS = {"ETag": '"e"', "Last-Modified": "Mon, 23 Nov 2026 04:24:01 GMT"}
Answer = tuple[int, str, bytes, int]
"""Status, error code, body, and how many bytes more than these were promised."""
OK: Answer = (200, "", b"", 0)


def refusal(status: int, code: str = "") -> Answer:
    return (status, code, b"", 0)


class Server(ThreadingHTTPServer):
    """Gives `answers` in turn, then `OK`; keeps what it was sent. An answer of None
    hangs up.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer | None] = []
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.silent = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.server.paths.append(self.path)
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.answers.pop(0) if self.server.answers else OK
        if answer is None:
            self.close_connection = True
            return
        status, code, body, missing = answer
        if code:
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        for name, value in FACTS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = bool(missing)

    def _without_body(self) -> None:
        self.headers["Content-Length"] = "0"
        self.do_PUT()

    do_GET = do_HEAD = do_DELETE = _without_body

    def log_message(self, *_: Any) -> None:
        """pytest shows what matters."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def store(server: Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.setattr(
        http, "RETRY", RetryPolicy(base_s=0.001, cap_s=0.001, max_attempts=3)
    )
    return _store(f"http://127.0.0.1:{server.server_port}")


def _store(url: str) -> S3Store:
    return S3Store(Settings(s3_endpoint_url=url, s3_access_key="a", s3_secret_key="s"))


@pytest.mark.parametrize(
    "fault",
    [
        refusal(503, "SlowDown"),
        refusal(500, "InternalError"),
        refusal(502),
        refusal(429),
        refusal(400, "RequestTimeout"),
        None,
    ],
)
def test_what_passes_is_tried_again(
    store: S3Store, server: Server, fault: Answer | None
) -> None:
    """Up to three times, each with the whole body, of a file too, wherever it stood."""
    server.answers = [fault, fault]
    with tempfile.TemporaryFile() as file:
        file.write(b"photo" * 50_000)
        store.put("b", "k", file, "image/png")
    assert server.bodies == [b"photo" * 50_000] * 3


def test_patience_ends(store: S3Store, server: Server) -> None:
    """Three tries, and one whether another key fares better; then the caller decides."""
    server.answers = [refusal(503, "SlowDown")] * 4
    with pytest.raises(StorageUnavailable, match="SlowDown on bucket 'b'"):
        store.put("b", "k", io.BytesIO(b"1"), "text/plain")
    assert (server.paths.count("/b/k"), len(server.bodies)) == (3, 4)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (refusal(404, "NoSuchKey"), NotFound),
        (refusal(404, "NoSuchBucket"), StorageUnavailable),
        (refusal(403, "AccessDenied"), StorageUnavailable),
        (refusal(401), StorageUnavailable),
        (refusal(301, "PermanentRedirect"), StorageUnavailable),
        (refusal(400, "AuthorizationHeaderMalformed"), StorageUnavailable),
        (refusal(400, "KeyTooLongError"), PermanentError),
        (refusal(405, "MethodNotAllowed"), NotFound),
    ],
)
def test_a_refusal_is_final(
    store: S3Store, server: Server, answer: Answer, raised: type[Exception]
) -> None:
    """One request for it; a wrong bucket, region or key is a fault of the surroundings,
    never of a photo.
    """
    server.answers = [answer, OK]
    with pytest.raises(raised):
        store.read("b", "k")
    assert server.paths.count("/b/k") == 1


def test_somebody_was_first(store: S3Store, server: Server) -> None:
    server.answers = [refusal(412, "PreconditionFailed")]
    assert not store.put_new("b", "k", b"1", "text/plain")
    assert len(server.bodies) == 1


def test_a_conflict_is_no_answer(store: S3Store, server: Server) -> None:
    """Amazon's word for a write or a deletion of the key at the same time: asked again,
    until somebody was first.
    """
    conflict = refusal(409, "ConditionalRequestConflict")
    server.answers = [conflict, refusal(412, "PreconditionFailed")]
    assert not store.put_new("b", "k", b"1", "text/plain")
    server.answers = [conflict, OK]
    assert store.put_new("b", "k", b"1", "text/plain")
    server.answers = [conflict] * 3
    with pytest.raises(StorageUnavailable, match="ConditionalRequestConflict"):
        store.put_new("b", "k", b"1", "text/plain")


def test_a_cut_body_is_no_body(store: S3Store, server: Server) -> None:
    """A connection that ends early must not look like a small photo."""
    server.answers = [(200, "", b"half", 4)]
    with pytest.raises(StorageUnavailable, match="ProtocolError"):
        store.read("b", "k")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.read("b", "k"),
        lambda store: store.head("b", "k"),
        lambda store: store.put("b", "k", b"1", "text/plain"),
        lambda store: store.delete("b", "k"),
    ],
    ids=["read", "head", "put", "delete"],
)
def test_a_store_that_is_not_there(
    store: S3Store, server: Server, call: Callable[[S3Store], object]
) -> None:
    """Nobody listens: every call says so, and names the bucket."""
    server.answers = [None] * 4
    with pytest.raises(StorageUnavailable, match=r"ProtocolError on bucket 'b'"):
        call(store)
    with pytest.raises(StorageUnavailable, match=r"NewConnectionError on bucket 'b'"):
        call(_store("http://127.0.0.1:1"))


def test_a_silent_store_is_left(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listener that never answers holds nobody up for longer than the limits."""
    monkeypatch.setattr(http, "READ_S", 0.05)
    monkeypatch.setattr(
        http, "RETRY", RetryPolicy(base_s=0.001, cap_s=0.001, max_attempts=2)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "do_GET", lambda handler: handler.server.silent.wait(30))
        with pytest.raises(StorageUnavailable, match="ReadTimeoutError"):
            _store(f"http://127.0.0.1:{server.server_port}").read("b", "k")
        server.silent.set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "cert.pem"
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


def test_a_store_must_prove_who_it_is(
    server: Server, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over https an unknown certificate is refused, unless the SDK's own variable names
    its authority.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(
        http, "RETRY", RetryPolicy(base_s=0.001, cap_s=0.001, max_attempts=1)
    )
    monkeypatch.setattr(server, "handle_error", lambda *_: None)  # it is told, too
    url = f"https://127.0.0.1:{server.server_port}"
    with pytest.raises(StorageUnavailable, match="SSLError on bucket 'b'"):
        _store(url).put("b", "k", b"secret", "text/plain")
    assert server.bodies == []
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    _store(url).put("b", "k", b"secret", "text/plain")
    assert server.bodies == [b"secret"]
