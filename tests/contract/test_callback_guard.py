"""Server-side request forgery: no spelling of an address gets a callback to a place
that is not public.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from handlers.webhooks.sender import Sender
from shared.callback_guard import check_url, resolve
from shared.errors import Code, DarkroomError, PermanentError, TransientError
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from tests.support.receivers import (
    Counter,
    Receiver,
    huge,
    huge_head,
    status,
    trickling,
)

SECRET = "whsec_" + "ab" * 24
PORT = "{port}"

SPELLINGS = [
    # loopback, in every way that some parser or resolver takes for it
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://127.0.0.01:{port}/",
    "http://127.000.000.001:{port}/",
    "http://127.0.0.2:{port}/",
    "http://127.255.255.254:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://00.0.0.0:{port}/",
    "http://4294967297:{port}/",
    "http://127.0.0.257:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://LOCALHOST:{port}/",
    "http://a.localhost:{port}/",
    "http://localhost.localdomain:{port}/",
    "http://ip6-localhost:{port}/",
    "http://localhost%2e:{port}/",
    "http://loc\u0430lhost:{port}/",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
    # IPv6, and IPv4 inside it
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[::1%lo]:{port}/",
    "http://[fe80::1]:{port}/",
    "http://[fe80::1%25eth0]:{port}/",
    "http://[fc00::1]:{port}/",
    "http://[fd00:ec2::254]:{port}/",
    "http://[ff02::1]:{port}/",
    "http://::1:{port}/",
    # private networks and the clouds' metadata
    "http://10.0.0.1:{port}/",
    "http://172.16.0.1:{port}/",
    "http://192.168.0.1:{port}/",
    "http://100.64.0.1:{port}/",
    "http://169.254.169.254:{port}/latest/meta-data/",
    "http://0xa9fea9fe:{port}/",
    "http://2852039166:{port}/",
    "http://100.100.100.200:{port}/",
    "http://192.0.0.192:{port}/",
    "http://168.63.129.16:{port}/",
    "http://224.0.0.1:{port}/",
    "http://255.255.255.255:{port}/",
    "http://198.18.0.1:{port}/",
    "http://metadata:{port}/",
    "http://metadata.google.internal:{port}/",
    # what parsers disagree about
    "http://example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://example.com#@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1\r\nX: y:{port}/",
    " http://127.0.0.1:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127.0.0.1%00.example.com:{port}/",
    "http://example.com/\r\nHost: 127.0.0.1:{port}",
    "http://[127.0.0.1]:{port}/",
    "http://127.0.0.1:{port}:443/",
    # other schemes
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "dict://127.0.0.1:{port}/",
    "unix:///run/docker.sock",
    "jar:http://127.0.0.1:{port}/",
    "",
    "http://",
    "http://:{port}/",
    # names that lead there, asked of a resolver that says so
    "http://loopback.example.com:{port}/",
    "http://mapped.example.com:{port}/",
    "http://mixed.example.com:{port}/",
    "http://private.example.com:{port}/",
    "http://metadata.example.com:{port}/",
    "http://scoped.example.com:{port}/",
]
NAMES = {
    "loopback.example.com": ["127.0.0.1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "mixed.example.com": ["93.184.216.34", "127.0.0.1"],
    "private.example.com": ["10.1.2.3"],
    "metadata.example.com": ["169.254.169.254"],
    "scoped.example.com": ["fe80::1%lo"],
    "metadata.google.internal": ["169.254.169.254"],
    "localhost.localdomain": ["127.0.0.1"],
}


def lookup(host: str, _port: int) -> list[str]:
    return NAMES.get(host, ["127.0.0.1"])


def settings(port: int, **more: Any) -> Settings:
    given: dict[str, Any] = {
        "webhook_secret": SECRET,
        "callback_http": True,
        "callback_ports": f"443 {port}",
        "callback_timeout_s": 20.0,
    }
    return Settings(**given | more)


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.close()


def test_no_spelling_reaches_a_private_address(counter: Counter) -> None:
    """Over http and on an allowed port, so that nothing but the rules about addresses
    stands between.
    """
    assert len(SPELLINGS) >= 40
    sender = Sender(settings(counter.port), SystemClock(), lookup)
    for spelling in SPELLINGS:
        for scheme in ("http", "https"):
            url = spelling.replace(PORT, str(counter.port)).replace(
                "http:", f"{scheme}:", 1
            )
            with pytest.raises((PermanentError, TransientError)):
                sender(url, "id", b"{}")
    # And with the machine's own resolver, which knows localhost.
    own = Sender(settings(counter.port), SystemClock())
    for host in (
        "localhost",
        "localhost.localdomain",
        "ip6-loopback",
        "a.localhost",
        socket.gethostname(),
    ):
        with pytest.raises(DarkroomError):
            own(f"http://{host}:{counter.port}/", "id", b"{}")
    print(f"SSRF spellings={len(SPELLINGS)} connects={counter.connects}")
    assert counter.connects == 0


def test_the_counter_counts(counter: Counter) -> None:
    """What the test above relies on: where it is allowed, the same call does arrive."""
    allowed = settings(counter.port, callback_allow="127.0.0.0/8")
    with pytest.raises(TransientError):
        Sender(allowed, SystemClock())(f"http://127.0.0.1:{counter.port}/", "id", b"{}")
    assert counter.connects == 1


def test_a_name_that_changes_its_mind_is_asked_once(counter: Counter) -> None:
    """DNS rebinding: the first answer is checked and connected to; a second one is
    never asked for.
    """
    receiver = Receiver(status(204), "127.0.0.2")
    answers = iter([["127.0.0.2"], ["127.0.0.1"]])
    asked = []

    def flipping(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    allowed = settings(receiver.port, callback_allow="127.0.0.2/32")
    try:
        assert (
            Sender(allowed, SystemClock(), flipping)(
                f"http://flip.example.com:{receiver.port}/", "id", b"{}"
            )
            == 204
        )
        assert asked == ["flip.example.com"]
        assert (
            receiver.received[0].headers["host"] == f"flip.example.com:{receiver.port}"
        )
        # the second answer, in a later try
        with pytest.raises(PermanentError, match="not public"):
            Sender(allowed, SystemClock(), flipping)(
                f"http://flip.example.com:{receiver.port}/", "id", b"{}"
            )
    finally:
        receiver.close()
    assert counter.connects == 0


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(counter: Counter, code: int) -> None:
    """Its status is the answer."""
    receiver = Receiver(
        status(code, Location=f"http://127.0.0.1:{counter.port}/"), "127.0.0.2"
    )
    allowed = settings(receiver.port, callback_allow="127.0.0.0/8")
    try:
        assert Sender(allowed, SystemClock())(receiver.url, "id", b"{}") == code
    finally:
        receiver.close()
    assert counter.connects == 0


def test_proxies_of_the_environment_are_not_used(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look the name up again."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        monkeypatch.setenv(name, f"http://127.0.0.1:{counter.port}")
    receiver = Receiver(status(200), "127.0.0.2")
    allowed = settings(receiver.port, callback_allow="127.0.0.2")
    try:
        assert Sender(allowed, SystemClock())(receiver.url, "id", b"{}") == 200
    finally:
        receiver.close()
    assert counter.connects == 0


@pytest.mark.parametrize("habit", [huge_head, trickling])
def test_an_answer_that_does_not_end_is_no_answer(habit: Any) -> None:
    """At most 64 KiB are read, for at most the time limit, however the bytes are
    spread.
    """
    receiver = Receiver(habit)
    hasty = settings(receiver.port, callback_allow="127.0.0.1", callback_timeout_s=2.0)
    try:
        with pytest.raises(TransientError):
            Sender(hasty, SystemClock())(receiver.url, "id", b"{}")
    finally:
        receiver.close()


def test_a_body_without_end_is_not_read() -> None:
    """The status is all that counts."""
    receiver = Receiver(huge)
    try:
        sender = Sender(
            settings(receiver.port, callback_allow="127.0.0.1"), SystemClock()
        )
        assert sender(receiver.url, "id", b"{}") == 200
    finally:
        receiver.close()


@pytest.mark.parametrize(
    ("port", "host"),
    [(443, "a.example.com"), (8443, "1.1.1.1"), (443, "[2606:4700::1111]")],
)
def test_public_addresses_pass(port: int, host: str) -> None:
    target = check_url(f"https://{host}:{port}/x?y", Settings())
    public = resolve(
        target, Settings(), lambda *_: ["93.184.216.34", "2606:4700::1111"]
    )
    assert public


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("http://a.example.com/", {}),
        ("https://a.example.com:8080/", {}),
        ("https://a.example.com:80/", {}),
        ("http://a.example.com:443/", {}),
        ("https://intranet/", {}),
        ("https://a.example.com:0/", {}),
        ("https://a.example.com/" + "x" * 1024, {}),
        ("https://a.example.com:99999/", {}),
    ],
)
def test_the_rules_have_a_name(url: str, given: dict[str, Any]) -> None:
    """https only, few ports, full names: refused before any look-up, as a bad parameter
    that is named.
    """
    with pytest.raises(PermanentError, match="callback: ") as caught:
        check_url(url, Settings(**given))
    assert caught.value.code == Code.BAD_PARAMETER


def test_exceptions_are_by_name_and_by_network() -> None:
    """An intranet is allowed by its hosts or its addresses, and nothing beside it."""
    by_name, by_network = (
        Settings(callback_allow="hooks intranet"),
        Settings(callback_allow="10.1.0.0/16,fd00::/8"),
    )
    assert resolve(
        check_url("https://hooks/", by_name), by_name, lambda *_: ["10.9.9.9"]
    )
    target = check_url("https://a.example.com/", by_network)
    assert resolve(target, by_network, lambda *_: ["10.1.2.3", "fd00::1"])
    for address in ("10.2.0.1", "fe80::1%eth0", "::ffff:10.1.2.3"):
        with pytest.raises(PermanentError):
            resolve(target, by_network, lambda *_, address=address: [address])


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "public.pem", folder / "private.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return public, private


def test_the_certificate_is_that_of_the_name(tmp_path: Path) -> None:
    """The address is pinned, the name is kept: it is in the handshake, and the
    certificate must be for it.
    """
    public, private = certificate(tmp_path, "hooks.example.com")
    receiver = Receiver(status(204))
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(public, private)
    receiver.encrypt(served)
    trusting = ssl.create_default_context(cafile=str(public))
    sender = Sender(
        settings(receiver.port, callback_allow="127.0.0.1"),
        SystemClock(),
        lookup,
        trusting,
    )
    try:
        assert sender(f"https://hooks.example.com:{receiver.port}/", "id", b"{}") == 204
        with pytest.raises(TransientError, match="SSLCertVerificationError"):
            sender(f"https://other.example.com:{receiver.port}/", "id", b"{}")
        unknown = Sender(
            settings(receiver.port, callback_allow="127.0.0.1"), SystemClock(), lookup
        )
        with pytest.raises(TransientError, match="SSLCertVerificationError"):
            unknown(f"https://hooks.example.com:{receiver.port}/", "id", b"{}")
    finally:
        receiver.close()
    assert len(receiver.received) == 1


def test_a_name_server_that_never_answers_holds_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's resolver knows no time limit: the call is given up for this try, and
    its thread is let go.
    """
    asked, release = threading.Event(), threading.Event()

    def never(*_: Any, **__: Any) -> list[Any]:
        asked.set()
        release.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    limits = Settings(callback_timeout_s=0.1)
    try:
        with pytest.raises(TransientError, match="cannot be resolved"):
            resolve(check_url("https://hooks.example.com/", limits), limits)
        assert asked.is_set()
    finally:
        release.set()
