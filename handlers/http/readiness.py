"""Can this process do its work? Asked of the services it needs, quickly, whatever state
they are in.
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
FRESH_S = 1.0

Question = Callable[[], object]
"""Returns anything, or raises: then the service is not there."""


def checks_of(ctx: Context) -> Mapping[str, Check]:
    """Of what an upload needs: both buckets, and the broker."""

    def storage() -> None:
        for bucket in (ctx.settings.bucket_uploads, ctx.settings.bucket_results):
            next(iter(ctx.store.list(bucket, "readiness/")), None)

    return {
        "storage": Check(storage),
        "broker": Check(lambda: depth.check(ctx.settings)),
    }


async def answers(checks: Mapping[str, Check]) -> dict[str, bool]:
    """Of each service: is it there? All are asked at once."""
    passed = await asyncio.gather(*(check.passes() for check in checks.values()))
    return dict(zip(checks, passed, strict=True))


class Check:
    """Asks one question on a thread of its own; a question that hangs is not asked
    again meanwhile.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self._answer: Future[None] | None = None
        self._asked = 0.0

    async def passes(self) -> bool:
        """Answered within `ANSWER_S`, and well. An answer is good for `FRESH_S`."""
        answer = self._answer
        if answer is None or (answer.done() and monotonic() - self._asked > FRESH_S):
            answer = self._answer = self._ask()
        try:
            await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(answer)), ANSWER_S
            )
        except Exception:
            return False
        return True

    def _ask(self) -> Future[None]:
        answer: Future[None] = Future()
        self._asked = monotonic()

        def run() -> None:
            try:
                self._question()
            except BaseException as error:
                answer.set_exception(error)
            else:
                answer.set_result(None)

        # Not a pool: its threads would keep the process from leaving while a service
        # hangs.
        threading.Thread(target=run, name="readiness", daemon=True).start()
        return answer
