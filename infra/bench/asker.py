"""A lean HTTP client in a process of its own: it must not be what is measured.

So many connections, kept open, each with one request under way; the next is sent when
the answer is complete.
"""

from __future__ import annotations

import asyncio
import re
import time
from multiprocessing.connection import Connection

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


class Line(asyncio.Protocol):
    """One connection. `taken_s`: seconds from the request's first byte sent to the
    answer's last byte received.
    """

    def __init__(self, request: bytes, status: int, ends_s: float) -> None:
        self._request, self._expected, self._ends_s = (
            request,
            b"HTTP/1.1 %d " % status,
            ends_s,
        )
        self._received, self._wanted, self._began_s = bytearray(), 0, 0.0
        self.taken_s: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(
                exc or ConnectionError("the server closed a connection")
            )

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._wanted:
            head = self._received.find(b"\r\n\r\n")
            found = _LENGTH.search(self._received, 0, head) if head >= 0 else None
            self._wanted = head + 4 + int(found[1]) if found else 0
        if not self._wanted or len(self._received) < self._wanted:
            return
        now = time.perf_counter()
        self.taken_s.append(now - self._began_s)
        if not self._received.startswith(self._expected):
            self.done.set_exception(AssertionError(bytes(self._received[:500])))
        elif now < self._ends_s:
            self._ask()
        else:
            self.done.set_result(None)

    def close(self) -> None:
        self._transport.close()

    def _ask(self) -> None:
        self._received.clear()
        self._wanted, self._began_s = 0, time.perf_counter()
        self._transport.write(self._request)


async def ask(
    port: int,
    request: bytes,
    status: int,
    connections: int,
    lasts_s: float,
) -> tuple[float, list[float]]:
    """Requests a second, and the seconds that each took. Raises `AssertionError` at an
    answer of another status.
    """
    loop, began_s = asyncio.get_running_loop(), time.perf_counter()
    made = [
        loop.create_connection(
            lambda: Line(request, status, began_s + lasts_s), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    lines = [line for _, line in await asyncio.gather(*made)]
    try:
        await asyncio.gather(*(line.done for line in lines))
        taken_s = [taken for line in lines for taken in line.taken_s]
        return len(taken_s) / (time.perf_counter() - began_s), taken_s
    finally:
        for line in lines:
            line.close()


def asking(orders: Connection) -> None:
    """The process: arguments of `ask` in, its result or its error out, until it is
    killed.
    """
    while True:
        order = orders.recv()
        try:
            orders.send(asyncio.run(ask(*order)))
        except (AssertionError, OSError) as error:
            orders.send(error)
