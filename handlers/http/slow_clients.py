"""Connections whose other side says nothing, or takes nothing: cut, so that nobody
fills the door by being slow.

uvicorn waits without end for a request's head, for the rest of a body that nobody reads
any more, and for a client to take its answer; and so many silent connections as it
allows at once would be all that it serves.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

PATIENCE_S = 10.0
"""A client whose turn it is may let so long pass, twice at most, without a whole head
or taking a byte.
"""


class PatientProtocol(H11Protocol):
    """One HTTP/1.1 connection, looked at each `PATIENCE_S`."""

    _seen: tuple[RequestResponseCycle | None, int] | None = None
    """What their turn was about at the last look: after which request, and how much of
    our answer they had to take.
    """
    _next_look: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._next_look = self.loop.call_later(PATIENCE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._next_look.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        left_bytes = self.transport.get_write_buffer_size()
        theirs = (
            self.cycle is None or self.cycle.response_complete or self.flow.write_paused
        )
        if (
            theirs
            and self._seen is not None
            and self._seen[0] is self.cycle
            and left_bytes >= self._seen[1]
        ):
            self.transport.abort()
            return
        self._seen = (self.cycle, left_bytes) if theirs else None
        self._next_look = self.loop.call_later(PATIENCE_S, self._look)
