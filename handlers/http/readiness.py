"""Checks whether the services that this process needs can be reached, within a short
time whatever state they are in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from time import monotonic

from handlers.context import Context
from shared.broker import depth

ANSWER_S = 2.0
"""A service that takes longer to answer counts as away."""
FRESH_S = 1.0
"""A result is used again for this time."""

Question = Callable[[], object]
"""Returns anything, or raises where the service cannot be reached."""


def checks_of(ctx: Context) -> Mapping[str, Check]:
    """Checks of what an upload needs: both buckets, and the broker."""

    settings = ctx.settings

    def storage() -> None:
        _list(ctx, settings.bucket_uploads)
        _list(ctx, settings.bucket_results)

    def broker() -> None:
        depth.check(settings)

    return {
        "storage": Check(storage),
        "broker": Check(broker),
    }


def _list(ctx: Context, bucket: str) -> None:
    """One request of a listing. Raises `StorageUnavailable`."""
    objects = ctx.store.list(bucket, "readiness/")
    next(iter(objects), None)


async def run_checks(checks: Mapping[str, Check]) -> dict[str, bool]:
    """Whether each service can be reached. All checks run at the same time."""
    passed = await asyncio.gather(*(check.passes() for check in checks.values()))
    return dict(zip(checks, passed, strict=True))


class Check:
    """Puts one question to a service, on a thread of its own. While a question hangs,
    no second one is put.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._answer: Future[None] | None = None
        self._started_at = 0.0

    async def passes(self) -> bool:
        """Whether the question is answered within `ANSWER_S`, without an error."""
        answer = self._latest()
        try:
            shielded = asyncio.shield(asyncio.wrap_future(answer))
            await asyncio.wait_for(shielded, ANSWER_S)
        except Exception:
            return False
        return True

    def _latest(self) -> Future[None]:
        answer = self._answer
        if answer is not None:
            is_fresh = monotonic() - self._started_at <= FRESH_S
            if is_fresh or not answer.done():
                return answer
        self._answer = self._start()
        return self._answer

    def _start(self) -> Future[None]:
        answer: Future[None] = Future()
        self._started_at = monotonic()

        def run() -> None:
            try:
                self._question()
            except BaseException as error:
                answer.set_exception(error)
            else:
                answer.set_result(None)

        # Not a pool: its threads would keep the process from leaving while a service
        # hangs.
        threading.Thread(
            target=run,
            name="readiness",
            daemon=True,
        ).start()
        return answer
