"""A store that is far away: a line to it on which every message is late."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK_BYTES = 1 << 18
AT_REST_S = 0.002
"""Bytes that come sooner than this after others belong to the same message: it is late
as a whole, and no slower.
"""


@contextmanager
def far_away(port: int, round_trip_s: float) -> Iterator[int]:
    """A port that leads to `port` of this machine; an answer takes `round_trip_s`
    longer.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        arguments = (listener, port, round_trip_s / 2)
        threading.Thread(target=_accept, args=arguments, daemon=True).start()
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, delay_s: float) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((client, server), (server, client)):
            arguments = (*ends, delay_s)
            threading.Thread(target=_pass_on, args=arguments, daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    """Pass on until either end is closed, and close both."""
    with suppress(OSError):
        asked_s = time.monotonic()
        while data := source.recv(CHUNK_BYTES):
            if time.monotonic() - asked_s > AT_REST_S:
                time.sleep(delay_s)
            sink.sendall(data)
            asked_s = time.monotonic()
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
