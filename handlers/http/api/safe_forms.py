"""Which forms of signed uploads the API offers: what `bootstrap` found out, read anew
every minute.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from anyio.to_thread import run_sync

from handlers.context import Context
from shared.errors import DarkroomError
from shared.s3 import upload_forms

GOOD_S = 60.0


class SafeForms:
    """Used from the event loop alone. While the store cannot say, what was known holds."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._known: Collection[upload_forms.Form] = upload_forms.ALL
        self._read_at = float("-inf")

    async def safe(self) -> Collection[upload_forms.Form]:
        """By `bootstrap`; all of them where it never tried."""
        now = self._ctx.clock.monotonic()
        if now - self._read_at > GOOD_S:
            self._read_at = now
            await run_sync(self._read)
        return self._known

    def _read(self) -> None:
        with suppress(DarkroomError):
            self._known = upload_forms.read(self._ctx.store, self._ctx.settings).safe
