"""The callbacks process: `darkroom.callbacks` → the ledger → calls, now and at every
later try that is due.

A message is only asked to be remembered: it is acknowledged once the ledger has the
call, so no receiver, however slow, holds a message or a photo. First tries go before
later ones, and no host and no user takes more than a share of the threads: a user may
have many host names, and a host many users.

`python -m handlers callbacks [test URL [--json] | secret --user U [--json]]`
"""

from __future__ import annotations

import heapq
import signal
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from handlers import metrics
from handlers.context import Context
from handlers.on_finished import Send, on_finished
from handlers.processes import webhooks_cli
from handlers.processes.heartbeat_store import PATIENCE_S, watched
from handlers.processes.upload_consumer import patiently
from handlers.retelling import read_receipt
from handlers.webhooks.call_log import Due, Ledger
from handlers.webhooks.sender import Sender
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery
from shared.broker.publisher import Publisher
from shared.callback_guard import check_url
from shared.errors import NotFound, PermanentError, TransientError
from shared.runtime import operations
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.store import S3Store
from shared.uploads.messages import CallbackDue

AT_ONCE = 32
LATER_AT_ONCE = AT_ONCE // 2
"""Of these, tries after the first: however many receivers are dead, others are called
in time.
"""
PER_HOST = 4
PER_USER = 8
HANDS = 4
"""Messages looked at at once."""
LOOK = "look"
LOOK_S, REST = 10.0, 4.0
"""Pause between two looks into the ledger, or in times of what the last one took: only
what other processes left.
"""
IDLE_S = 0.5
AGAIN_S = 5.0
"""A try that could not be begun, because a service is away, follows after this."""


Share = tuple[Literal["host", "user"], str]
MOST_OF = {"host": PER_HOST, "user": PER_USER}


class Messenger:
    """Makes the calls that are due. Its memory copies the ledger; looking finds what
    other processes left.
    """

    def __init__(self, ctx: Context, ledger: Ledger, send: Send) -> None:
        self._ctx, self._ledger, self._send = ctx, ledger, send
        self._lines: tuple[list[tuple[float, str, Due]], ...] = ([], [])
        """First tries and later ones, by the time at which they are due."""
        self._known: dict[str, int] = {}
        self._full: defaultdict[Share, deque[Due]] = defaultdict(deque)
        """Calls that are due and wait until their host or user has less than its share.
        """
        self._taken: Counter[Share] = Counter()
        self._under_way = 0
        self._wake = threading.Condition()
        self._calling, self._looking = Pulse(), Pulse()
        store = watched(ctx.store, self._looking)
        self._seen = Ledger(
            store, ctx.settings.bucket_results, ctx.settings.callback_timeout_s
        )
        self.parts = {"messenger": self._calling.quiet_s, LOOK: self._looking.quiet_s}
        """What shows signs of life, for the `Heartbeat`."""

    def take_in(self, body: bytes) -> None:
        """A message: the call is in the ledger when this returns. Raises what `Ledger`
        and a useless message raise.
        """
        upload_id = CallbackDue.decode(body).upload_id
        try:
            receipt = read_receipt(self._ctx, upload_id)
        except NotFound:
            return  # erased
        if receipt.callback is None:
            return
        host = _host(receipt.callback, self._ctx.settings)
        told = self._ledger.told(upload_id)
        if told is not None and told.outcome == "given_up":
            self._ledger.reopen(upload_id)  # a person took it from the dead queue
        if due := self._ledger.order(upload_id, host, receipt.user_hash):
            self._offer(due)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; calls under way are finished."""
        looking = threading.Thread(
            target=self._look, args=(stop,), name=LOOK, daemon=True
        )
        looking.start()
        with ThreadPoolExecutor(AT_ONCE, "call") as pool:
            while not stop.is_set():
                self._calling.beat()
                with self._wake:
                    self._begin_due(pool)
                    self._wake.wait(self._pause_s())

    def _look(self, stop: threading.Event) -> None:
        """Until `stop`. Whatever goes wrong is logged, and tried again after the pause."""
        while not stop.is_set():
            self._looking.beat()
            started = self._now()
            try:
                for due in self._seen.look():
                    self._offer(due)
            except TransientError as error:
                logger().warning("callback.postponed", detail=error.detail)
            except Exception as error:
                logger().error("callback.postponed", exc_info=error)
            self._looking.rest()
            stop.wait(max(LOOK_S, REST * (self._now() - started)))

    def _offer(self, due: Due) -> None:
        with self._wake:
            if self._known.get(due.upload_id, -1) < due.attempt:
                self._known[due.upload_id] = due.attempt
                self._queue(due, due.due_s)
                self._wake.notify()

    def _queue(self, due: Due, wait_s: float) -> None:
        heapq.heappush(
            self._lines[due.attempt > 0], (self._now() + wait_s, due.upload_id, due)
        )

    def _begin_due(self, pool: ThreadPoolExecutor) -> None:
        for line, most in zip(self._lines, (AT_ONCE, LATER_AT_ONCE), strict=True):
            while line and line[0][0] <= self._now() and self._under_way < most:
                due = heapq.heappop(line)[2]
                if full := self._full_share(due):
                    self._full[full].append(due)
                    for share in _shares(due):
                        # its turn there, if it had one, is another's
                        self._let_next(share)
                else:
                    self._taken.update(_shares(due))
                    self._under_way += 1
                    pool.submit(self._call, due)

    def _full_share(self, due: Due) -> Share | None:
        return next(
            (
                share
                for share in _shares(due)
                if self._taken[share] >= MOST_OF[share[0]]
            ),
            None,
        )

    def _let_next(self, share: Share) -> None:
        """Where the share has room again, queue the first that waits for it and for
        nothing else by now.
        """
        waiting = self._full.get(share)
        while waiting and self._taken[share] < MOST_OF[share[0]]:
            due = waiting.popleft()
            if not (full := self._full_share(due)):
                self._queue(due, 0.0)
                break
            self._full[full].append(due)
        if not waiting:
            self._full.pop(share, None)

    def _pause_s(self) -> float:
        limits = zip(self._lines, (AT_ONCE, LATER_AT_ONCE), strict=True)
        # else the end of a call wakes us
        free = [line for line, most in limits if line and self._under_way < most]
        return min([IDLE_S, *(max(0.0, line[0][0] - self._now()) for line in free)])

    def _call(self, due: Due) -> None:
        left: Due | None = due
        wait_s = AGAIN_S
        try:
            left = on_finished(due, self._ctx, self._ledger, self._send)
            wait_s = left.due_s if left else 0.0
        except (TransientError, PermanentError) as error:
            logger().warning(
                "callback.postponed",
                upload_id=due.upload_id,
                delay_s=wait_s,
                detail=error.code,
            )
        except Exception as error:
            wait_s *= 12
            logger().error(
                "callback.postponed",
                upload_id=due.upload_id,
                delay_s=wait_s,
                exc_info=error,
            )
        with self._wake:
            self._under_way -= 1
            self._taken.subtract(_shares(due))
            for share in _shares(due):
                self._let_next(share)
                if not self._taken[share]:
                    del self._taken[share]
            if left is None:
                self._known.pop(due.upload_id, None)
            else:
                self._known[due.upload_id] = left.attempt
                self._queue(left, wait_s)
            self._wake.notify()

    def _now(self) -> float:
        return self._ctx.clock.monotonic()


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Entry point of the process; SIGTERM and SIGINT end it. Raises `SettingsError`
    without a secret.
    """
    store = S3Store(settings)
    ctx = Context(settings, store, Publisher(settings), store.clock)
    ledger = Ledger(ctx.store, settings.bucket_results, settings.callback_timeout_s)
    send = Sender(settings, store.clock)
    if arguments:
        return webhooks_cli.run(arguments, ctx, ledger, send)
    stop = threading.Event()
    messenger = Messenger(ctx, ledger, send)

    def leave(*_: object) -> None:
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, leave)
    with ThreadPoolExecutor(HANDS, "messages") as hands:

        def on_delivery(delivery: Delivery) -> None:
            hands.submit(
                patiently,
                delivery,
                lambda: messenger.take_in(delivery.body),
                settings,
                stop,
            )

        consumer = Consumer(settings, {topology.CALLBACKS: 2 * HANDS}, on_delivery)
        calling = threading.Thread(
            target=_run, args=(messenger, stop), name="messenger"
        )
        calling.start()
        heartbeat = Heartbeat(
            settings,
            {"consumer": consumer.stuck_s, **messenger.parts},
            {LOOK: PATIENCE_S},
        )
        operations.start(
            settings,
            heartbeat,
            metrics.REGISTRY,
            lambda: {
                "broker": consumer.silent_s() < operations.FRESH_S,
            },
        )
        logger().info("process.started")
        try:
            consumer.run(stop)
        finally:
            stop.set()
            calling.join()
    logger().info("process.stopped")
    return 0


def _shares(due: Due) -> tuple[Share, Share]:
    return ("host", due.host), ("user", due.user)


def _host(url: str, settings: Settings) -> str:
    """For the share of each. Where no call may go any more the tries fail, each with
    the rule: settings change.
    """
    try:
        return check_url(url, settings).host
    except PermanentError:
        return ""


def _run(messenger: Messenger, stop: threading.Event) -> None:
    try:
        messenger.run(stop)
    finally:
        stop.set()  # a process that no longer calls must not go on consuming
