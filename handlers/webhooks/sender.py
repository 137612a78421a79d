"""One signed POST to an address that somebody else chose: no redirect, no proxy, no
waiting, no large answer.
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

from handlers.webhooks import signing
from shared import __version__
from shared.callback_guard import Address, Lookup, Target, check_url, resolve
from shared.errors import Code, TransientError
from shared.runtime.settings import Settings
from shared.s3.clock import Clock

MAX_ANSWER_BYTES = 64 << 10
ADDRESSES = 3
"""Most addresses of one host that are tried."""


class Sender:
    """`sender(url, ident, body, user_hash)` makes one call and returns the HTTP status.
    Thread-safe.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings, self._clock, self._lookup = settings, clock, lookup
        self._keys = signing.keys_of(settings)
        self._tls = tls or ssl.create_default_context()

    def __call__(
        self, url: str, ident: str, body: bytes, user_hash: str | None = None
    ) -> int:
        """Raises `PermanentError(bad_parameter)` where no call may go, `TransientError`
        without an answer.
        """
        target = check_url(url, self._settings)
        addresses = resolve(target, self._settings, self._lookup)
        headers = signing.sign(self._keys, ident, self._clock.now(), body, user_hash)
        try:
            with self._connected(target, addresses) as connection:
                connection.sendall(_request(target, headers, body))
                return _status(connection)
        except TimeoutError as error:
            raise _failed(
                f"no answer within {self._settings.callback_timeout_s:g} s"
            ) from error
        except (OSError, HTTPException) as error:
            raise _failed(type(error).__name__) from error

    @contextmanager
    def _connected(
        self, target: Target, addresses: list[Address]
    ) -> Iterator[socket.socket]:
        """A connection that is cut when the time is up, however slowly the other side
        trickles.
        """
        ends = monotonic() + self._settings.callback_timeout_s
        plain = _connect(target, addresses, ends)
        expired = threading.Event()

        def cut() -> None:
            expired.set()
            with suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(max(0.0, ends - monotonic()), cut)
        timer.daemon = True
        timer.start()
        try:
            with closing(plain):
                if target.scheme == "http":
                    yield plain
                else:
                    # The certificate is asked of the name, though the address is fixed.
                    with self._tls.wrap_socket(
                        plain.dup(), server_hostname=target.host
                    ) as encrypted:
                        yield encrypted
        except (OSError, HTTPException) as error:
            if expired.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()


def _connect(target: Target, addresses: list[Address], ends: float) -> socket.socket:
    """To one of exactly these addresses."""
    fault: OSError = TimeoutError()
    for address in addresses[:ADDRESSES]:
        left_s = ends - monotonic()
        if left_s <= 0:
            break
        try:
            connection = socket.create_connection((str(address), target.port), left_s)
        except OSError as error:
            fault = error
            continue
        connection.settimeout(max(0.001, ends - monotonic()))
        return connection
    raise fault


def _request(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """Nothing here can hold a line break: the URL passed `check_url`, all else is ours."""
    lines = {
        "Host": target.authority,
        "User-Agent": f"darkroom/{__version__}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    head = [
        f"POST {target.path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in lines.items()),
        "",
        "",
    ]
    return "\r\n".join(head).encode() + body


def _status(connection: socket.socket) -> int:
    response = HTTPResponse(cast(socket.socket, _Capped(connection)), method="POST")
    with closing(response):
        response.begin()
        # its status is all that counts; read so that it may end in peace
        with suppress(OSError, HTTPException):
            response.read(MAX_ANSWER_BYTES)
        return response.status


class _Capped:
    """What `HTTPResponse` needs of a socket; it gives at most `MAX_ANSWER_BYTES`.

    Its end is an error: `HTTPResponse` would take a head that breaks off for a whole
    one.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._connection))


class _Reader(io.RawIOBase):
    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._left = connection, MAX_ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        got = (
            self._connection.recv_into(memoryview(buffer)[: self._left])
            if self._left
            else 0
        )
        if not got:
            raise ConnectionAbortedError
        self._left -= got
        return got


def _failed(detail: str) -> TransientError:
    return TransientError(Code.INTERNAL, detail)
