"""Sends one signed POST to a URL that a user chose: to an address that was checked, with
no redirect, no proxy, a limit of time and a limit of the response's size.

urllib3 speaks HTTP; the socket is ours, because it is connected to exactly the checked
address and cut off when the time is up, which no limit of single reads can do.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from time import monotonic
from typing import Any, cast

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from handlers.webhooks import signing
from shared import __version__
from shared.callback_guard import Address, Lookup, Target, check_url, resolve
from shared.errors import Code, TransientError
from shared.runtime.settings import WebhookSettings
from shared.s3.clock import Clock

MAX_RESPONSE_BYTES = 64 << 10
ADDRESSES = 3
"""Most addresses of one host that are tried."""


class Sender:
    """`sender(url, ident, body, user_hash)` makes one call and returns the HTTP status.

    Thread-safe.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        clock: Clock,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lookup = lookup
        self._keys = signing.keys_of(settings)
        self._tls = tls or ssl.create_default_context()

    def __call__(
        self,
        url: str,
        ident: str,
        body: bytes,
        user_hash: str | None = None,
    ) -> int:
        """Raises `PermanentError(bad_parameter)` where no call may go, `TransientError`
        without a response.
        """
        target = check_url(url, self._settings)
        addresses = resolve(target, self._settings, self._lookup)
        now = self._clock.now()
        signed = signing.sign(self._keys, ident, now, body, user_hash)
        headers = _headers(target, signed)
        try:
            with self._connected(target, addresses) as sock:
                return _post(sock, target, headers, body)
        except TimeoutError as error:
            detail = f"no answer within {self._settings.callback_timeout_s:g} s"
            raise TransientError(Code.INTERNAL, detail) from error
        except (OSError, HTTPException, HTTPError) as error:
            raise TransientError(Code.INTERNAL, type(error).__name__) from error

    @contextmanager
    def _connected(
        self,
        target: Target,
        addresses: list[Address],
    ) -> Iterator[socket.socket]:
        """A socket that is cut off when the time is up, however slowly the other side
        trickles. Raises `TimeoutError` then, and `OSError`.
        """
        ends_at = monotonic() + self._settings.callback_timeout_s
        with (
            closing(_connect(target, addresses, ends_at)) as plain,
            _cut_off(plain, ends_at),
            closing(self._secured(plain, target)) as sock,
        ):
            yield sock

    def _secured(
        self,
        plain: socket.socket,
        target: Target,
    ) -> socket.socket:
        """A second handle of the socket, with TLS for https: `plain` stays usable for the
        cut-off.
        """
        handle = plain.dup()
        if target.scheme == "http":
            return handle
        # The certificate must be for the name, though the address is fixed.
        return self._tls.wrap_socket(handle, server_hostname=target.host)


@contextmanager
def _cut_off(
    sock: socket.socket,
    ends_at: float,
) -> Iterator[None]:
    """Shuts `sock` down at `ends_at` (monotonic); what fails from then on raises
    `TimeoutError`.
    """
    is_over = threading.Event()

    def cut() -> None:
        is_over.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, ends_at - monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException, HTTPError) as error:
        if is_over.is_set():
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()


def _connect(
    target: Target,
    addresses: list[Address],
    ends_at: float,
) -> socket.socket:
    """Connect to one of exactly these addresses. Raises `OSError`."""
    fault: OSError = TimeoutError()
    for address in addresses[:ADDRESSES]:
        left_s = ends_at - monotonic()
        if left_s <= 0:
            break
        try:
            sock = socket.create_connection((str(address), target.port), left_s)
        except OSError as error:
            fault = error
            continue
        sock.settimeout(max(0.001, ends_at - monotonic()))
        return sock
    raise fault


def _headers(
    target: Target,
    signed: Mapping[str, str],
) -> dict[str, str]:
    return {
        "Host": target.authority,
        "User-Agent": f"darkroom/{__version__}",
        "Content-Type": "application/json",
        "Connection": "close",
        **signed,
    }


def _post(
    sock: socket.socket,
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
) -> int:
    """The status of the response."""
    connection = HTTPConnection(target.host, target.port, timeout=sock.gettimeout())
    connection.sock = sock
    connection.response_class = _CappedResponse
    connection.request("POST", target.path, body, headers, preload_content=False)
    response = connection.getresponse()
    # Only the status counts; the body is read so that the receiver can finish.
    with suppress(OSError, HTTPException, HTTPError):
        response.read(MAX_RESPONSE_BYTES)
    return response.status


class _CappedResponse(HTTPResponse):
    """A response of at most `MAX_RESPONSE_BYTES`, its head included.

    Reading beyond is an error: `HTTPResponse` would take a head that breaks off for a
    whole one.
    """

    def __init__(
        self,
        sock: socket.socket,
        method: str | None = None,
    ) -> None:
        super().__init__(cast(socket.socket, _Capped(sock)), method=method)


class _Capped:
    """The part of a socket that `HTTPResponse` uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_CappedReader(self._sock))


class _CappedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = MAX_RESPONSE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        allowed = memoryview(buffer)[: self._left]
        received = self._sock.recv_into(allowed) if self._left else 0
        if not received:
            raise ConnectionAbortedError
        self._left -= received
        return received
