"""Cuts connections of clients that send nothing or take nothing, so that slow clients
do not use up all connections.

uvicorn waits without end for a request's head, for the rest of a body that is not read
any more, and for a client to take its response; as many silent connections as it allows
at once would be all that it serves.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

STALL_S = 10.0
"""A client whose turn it is may let this time pass, twice at most, without sending a
whole head or taking a byte.
"""


class SlowClientProtocol(H11Protocol):
    """One HTTP/1.1 connection, checked every `STALL_S`."""

    _last_seen: tuple[RequestResponseCycle | None, int] | None = None
    """At the last check, if it was the client's turn: the last request, and the bytes
    of its response that the client had still to take.
    """
    _next_check: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._next_check = self.loop.call_later(STALL_S, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_check.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        # From here on the connection is another protocol's, which pings its client.
        self._next_check.cancel()
        super().handle_websocket_upgrade(event)

    def _check(self) -> None:
        left_bytes = self.transport.get_write_buffer_size()
        if self._is_clients_turn():
            if self._is_stalled(left_bytes):
                self.transport.abort()
                return
            self._last_seen = (self.cycle, left_bytes)
        else:
            self._last_seen = None
        self._next_check = self.loop.call_later(STALL_S, self._check)

    def _is_clients_turn(self) -> bool:
        """Whether nothing goes on until the client sends or takes something."""
        if self.cycle is None or self.cycle.response_complete:
            return True
        return self.flow.write_paused

    def _is_stalled(self, left_bytes: int) -> bool:
        if self._last_seen is None:
            return False
        last_cycle, last_left_bytes = self._last_seen
        return last_cycle is self.cycle and left_bytes >= last_left_bytes
