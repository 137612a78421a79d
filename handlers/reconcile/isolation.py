"""Each object by itself: whatever is wrong with one of them delays no other."""

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

ItemT = TypeVar("ItemT")
T = TypeVar("T")


class Isolation:
    """Runs actions about one object each, and logs those that fail.

    `failed` counts the failures. Every method raises `BrokerUnavailable`, and
    `StorageUnavailable` where the store as a whole is down.
    """

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.failed = 0

    def run(self, stage: str, ident: str, action: Callable[[], T]) -> T | None:
        """Return what the action returns; None: it failed."""
        try:
            return action()
        except Exception as error:
            self.add_failure(stage, ident, error)
            return None

    def run_each(
        self,
        stage: str,
        executor: Executor,
        action: Callable[[ItemT], T],
        items: Sequence[ItemT],
        ident_of_item: Callable[[ItemT], str],
    ) -> Iterator[tuple[ItemT, T | Exception]]:
        """Do the same for many objects at a time. Yields what it returned or raised for
        each, in order.
        """
        outcomes = executor.map(partial(_result_or_error, action), items)
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Exception):
                self.add_failure(stage, ident_of_item(item), outcome)
            yield item, outcome

    def take_failed(self) -> int:
        """Return `failed`, and begin to count anew."""
        failed, self.failed = self.failed, 0
        return failed

    def add_failure(self, stage: str, ident: str, error: Exception) -> None:
        """Count and log an error that was caught elsewhere, by the object's id."""
        if isinstance(error, BrokerUnavailable):
            raise error
        is_refusal = isinstance(error, ObjectRefused)
        if isinstance(error, StorageUnavailable) and not is_refusal:
            check_store(self._ctx)
        self.failed += 1
        logger().error(
            "sweep.object_failed",
            stage=stage,
            object=ident,
            error=type(error).__name__,
            where=raised_at(error),
        )


def check_store(ctx: Context) -> None:
    """Raise `StorageUnavailable` where the store does not even list."""
    next(iter(ctx.store.list(ctx.settings.bucket_results, keys.SWEEP)), None)


def ident_of(subject: ObjectInfo | Entry) -> str:
    """Return the id of an entry, or the one in the key of one of our documents.

    Nothing that a person wrote gets into the log.
    """
    if isinstance(subject, Entry):
        return text(subject.upload)
    parts = re.split(r"[/.]", subject.key)
    return next(filter(packed, parts), "")


def _result_or_error(action: Callable[[ItemT], T], item: ItemT) -> T | Exception:
    try:
        return action(item)
    except Exception as error:
        return error
