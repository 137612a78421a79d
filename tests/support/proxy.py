"""A TCP proxy before a real server that makes the network bad: silence, latency, a
narrow line, resets.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType

CHUNK = 64 << 10
AT_REST_S = 0.005
"""Bytes for which nobody had to wait for longer belong to what came before them."""


class Proxy:
    """Listens on `port` and passes on to `target_port`, both on loopback. Faults begin
    and end at once.

    `pairs` counts the connections that were made, `broken` those that were reset.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._delay_s = 0.0
        self._rate: float | None = None
        self._fraction = 0.0
        self._rng = random.Random(0)
        self._silent = False
        self._pairs: list[_Pair] = []
        self.pairs = self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def swallow(self) -> None:
        """Half-open: every connection lives on and no byte arrives any more, in no
        direction, without a word.

        Those that are open now stay so for ever, as behind a router that forgot them;
        new ones work after `heal`.
        """
        self._silent = True
        for pair in list(self._pairs):
            pair.dead = True

    def heal(self) -> None:
        """New connections are as good as direct ones; old ones are, too, unless they
        were swallowed.
        """
        self._silent, self._delay_s, self._rate, self._fraction = False, 0.0, None, 0.0

    def delay(self, seconds: float) -> None:
        """Add latency to each message that somebody waited for, in each direction."""
        self._delay_s = seconds

    def rate(self, bytes_per_s: float) -> None:
        """Limit each connection in each direction."""
        self._rate = bytes_per_s

    def reset(self, fraction: float, seed: int = 0) -> None:
        """Reset the connection instead of passing on this fraction of the requests."""
        self._fraction, self._rng = fraction, random.Random(seed)

    def close(self) -> None:
        """Cut everything and listen no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in list(self._pairs):
            pair.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(
                    ("127.0.0.1", self._target_port), timeout=5
                )
            except OSError:
                _reset(client)
                continue
            pair = _Pair(client, server, self._silent)
            self._pairs.append(pair)
            self.pairs += 1
            threading.Thread(
                target=self._pump, args=(pair, client, server), daemon=True
            ).start()
            threading.Thread(
                target=self._pump, args=(pair, server, client), daemon=True
            ).start()

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        asks = source is pair.client
        with suppress(OSError):
            while data := self._receive(pair, source, asks):
                if not pair.dead:
                    sink.sendall(data)
            if not pair.dead:  # who closes one direction may still read from the other
                sink.shutdown(socket.SHUT_WR)
                return
        if not pair.dead:
            self._forget(pair)

    def _receive(self, pair: _Pair, source: socket.socket, asks: bool) -> bytes:
        """The next bytes, when they are due. Raises `OSError` where the connection ends
        here.
        """
        began = time.monotonic()
        rate = self._rate
        data = source.recv(
            CHUNK if rate is None else max(1, min(CHUNK, int(rate / 10)))
        )
        if not data or pair.dead:
            return data
        if time.monotonic() - began > AT_REST_S and self._delay_s:
            time.sleep(self._delay_s)
        if rate is not None:
            time.sleep(len(data) / rate)
        turned, pair.asking = pair.asking != asks, asks
        if asks and turned and self._fraction and self._rng.random() < self._fraction:
            self.broken += 1
            _reset(pair.client)
            self._forget(pair)
            raise ConnectionResetError
        return data

    def _forget(self, pair: _Pair) -> None:
        pair.close()
        with suppress(ValueError):
            self._pairs.remove(pair)


class _Pair:
    """The two ends of one connection. `dead`: nothing is passed on any more."""

    def __init__(
        self, client: socket.socket, server: socket.socket, dead: bool
    ) -> None:
        self.client, self.server, self.dead = client, server, dead
        self.asking = False
        for end in (client, server):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
