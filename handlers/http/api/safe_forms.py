"""Which kinds of signed uploads the API offers: the result of `bootstrap`'s checks, read
again every minute.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from anyio.to_thread import run_sync

from handlers.context import Context
from shared import upload_forms
from shared.errors import DarkroomError

FRESH_S = 60.0


class SafeForms:
    """Used from the event loop alone. While the store is away, the last result holds."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._safe: Collection[upload_forms.Form] = upload_forms.ALL
        self._read_at = float("-inf")

    async def safe(self) -> Collection[upload_forms.Form]:
        """The safe kinds; all of them where `bootstrap` never checked."""
        now = self._ctx.clock.monotonic()
        if now - self._read_at > FRESH_S:
            self._read_at = now
            await run_sync(self._read)
        return self._safe

    def _read(self) -> None:
        with suppress(DarkroomError):
            found = upload_forms.read(self._ctx.store, self._ctx.settings)
            self._safe = found.safe
