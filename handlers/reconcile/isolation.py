"""One object at a time: whatever is wrong with it costs only itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from handlers.context import Context
from handlers.reconcile.tables import Entry, packed, text
from shared.errors import BrokerUnavailable, ObjectRefused, StorageUnavailable
from shared.runtime.telemetry import logger, raised_at
from shared.s3.store import ObjectInfo
from shared.uploads import keys

I = TypeVar("I")  # noqa: E741
T = TypeVar("T")


class Apart:
    """Steps about one object each. `failed`: how many of them did; each was told in the
    log, by the object's id.

    Every method raises `BrokerUnavailable`, and `StorageUnavailable` where the store as
    a whole is away.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.failed = 0

    def step(self, stage: str, ident: str, step: Callable[[], T]) -> T | None:
        """What the step returns; None: it failed."""
        try:
            return step()
        except Exception as error:
            self.fault(stage, ident, error)
            return None

    def each(
        self,
        stage: str,
        pool: Executor,
        step: Callable[[I], T],
        items: Sequence[I],
        ident: Callable[[I], str],
    ) -> Iterator[tuple[I, T | Exception]]:
        """The same step for many objects, side by side: what it returned or raised for
        each, in order.
        """
        for item, outcome in zip(
            items, pool.map(partial(_tried, step), items), strict=True
        ):
            if isinstance(outcome, Exception):
                self.fault(stage, ident(item), outcome)
            yield item, outcome

    def taken(self) -> int:
        """`failed`, which begins anew."""
        failed, self.failed = self.failed, 0
        return failed

    def fault(self, stage: str, ident: str, error: Exception) -> None:
        """One object met an error that was caught elsewhere."""
        if isinstance(error, BrokerUnavailable):
            raise error
        if isinstance(error, StorageUnavailable) and not isinstance(
            error, ObjectRefused
        ):
            store_answers(self._ctx)
        self.failed += 1
        logger().error(
            "sweep.object_failed",
            stage=stage,
            object=ident,
            error=type(error).__name__,
            where=raised_at(error),
        )


def store_answers(ctx: Context) -> None:
    """Raises `StorageUnavailable` where it does not, about whatever object."""
    next(iter(ctx.store.list(ctx.settings.bucket_results, keys.SWEEP)), None)


def ident_of(what: ObjectInfo | Entry) -> str:
    """The id of an entry, or the one in the key of a document of ours: no word of a
    person's gets into the log.
    """
    if isinstance(what, Entry):
        return text(what.upload)
    return next(filter(packed, re.split(r"[/.]", what.key)), "")


def _tried(step: Callable[[I], T], item: I) -> T | Exception:
    try:
        return step(item)
    except Exception as error:
        return error
