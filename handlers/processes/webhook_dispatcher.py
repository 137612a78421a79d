"""The callbacks process: it takes requests for webhooks from `darkroom.callbacks` into
the call log, and sends them now and whenever a later attempt is due.

A message is acknowledged as soon as the call log has the webhook; sending happens
later. So no receiver, however slow, holds a message or a photo.

`python -m handlers callbacks [test URL [--json] | secret --user U [--json]]`
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from handlers import metrics
from handlers.context import Context
from handlers.on_finished import Send, on_finished
from handlers.processes import webhooks_cli
from handlers.processes.heartbeat_store import MAX_QUIET_S, HeartbeatStore
from handlers.processes.settle import settle_with_retry
from handlers.processes.stack_watch import StackWatch
from handlers.webhooks.call_log import CallLog, PendingCall
from handlers.webhooks.fair_queue import MAX_CALLS, FairQueue
from handlers.webhooks.notifier import Notifier
from handlers.webhooks.payload import receiver_of
from handlers.webhooks.sender import Sender
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery
from shared.broker.publisher import Publisher
from shared.callback_guard import check_url
from shared.errors import PermanentError, TransientError
from shared.notices import notice_in
from shared.runtime import operations
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.metrics import REGISTRY
from shared.runtime.settings import Settings
from shared.runtime.signals import on_termination
from shared.runtime.telemetry import logger
from shared.s3.store import S3Store
from shared.uploads.messages import CallbackDue

MESSAGE_WORKERS = 4
"""Messages handled at the same time."""
LOOK = "look"
"""Name of the loop that reads the call log."""
LOOK_S = 10.0
"""Least pause between two looks into the call log, which find what other processes
left there.
"""
LOOK_REST = 4.0
"""Least pause, in times of what the last look took."""
IDLE_S = 0.5
OUTCOMES = ("delivered", "disabled", "given_up", "failed")
"""Of one attempt of a webhook, for the metrics."""
RETRY_S = 5.0
"""Wait for an attempt that could not begin because a service is away."""
BUG_RETRY_S = 60.0


class Dispatcher:
    """Sends the webhooks that are due. Its memory is a copy of the call log; the look
    finds what other processes left there.
    """

    def __init__(self, ctx: Context, call_log: CallLog, send: Send) -> None:
        self._ctx = ctx
        self._call_log = call_log
        self._send = send
        self._queue = FairQueue(ctx.clock.monotonic)
        self._attempts: dict[str, int] = {}
        """Attempts of the webhooks that are queued or under way, by upload id."""
        self._changed = threading.Condition()
        self._calling = Pulse()
        self._looking = Pulse()
        self._looked_at = CallLog(
            HeartbeatStore(ctx.store, self._looking),
            ctx.settings.bucket_results,
            ctx.settings.callback_timeout_s,
        )
        self.parts = {"messenger": self._calling.quiet_s, LOOK: self._looking.quiet_s}
        """The loops that show signs of life, for the `Heartbeat`."""

    def take_in(self, body: bytes) -> None:
        """Write the webhook that a message requests into the call log.

        Raises `MessageError`, `PermanentError(bad_document)` and `StorageUnavailable`.
        """
        upload_id = CallbackDue.decode(body).upload_id
        receiver = receiver_of(self._ctx, upload_id)
        if receiver is None:
            return
        url, user_hash = receiver
        result = self._call_log.result(upload_id)
        if result is not None and result.outcome == "given_up":
            # A person took its message from the dead-letter queue.
            self._call_log.reopen(upload_id)
        host = _host_of(url, self._ctx.settings)
        call = self._call_log.add(upload_id, host, user_hash)
        if call:
            self._offer(call)

    def run(self, stop: threading.Event) -> None:
        """Send webhooks until `stop` is set; those under way are finished."""
        looking = threading.Thread(
            target=self._look, args=(stop,), name=LOOK, daemon=True
        )
        looking.start()
        with ThreadPoolExecutor(MAX_CALLS, "call") as pool:
            while not stop.is_set():
                self._calling.beat()
                with self._changed:
                    for call in self._queue.take_ready():
                        pool.submit(self._call, call)
                    self._changed.wait(self._pause_s())

    def blocked(self) -> int:
        """Return how many webhooks wait for a share of the threads."""
        with self._changed:
            return self._queue.blocked()

    def _look(self, stop: threading.Event) -> None:
        """Read the call log again and again until `stop` is set."""
        clock = self._ctx.clock
        while not stop.is_set():
            self._looking.beat()
            started_s = clock.monotonic()
            try:
                for call in self._looked_at.pending():
                    self._offer(call)
            except TransientError as error:
                logger().warning("callback.postponed", detail=error.detail)
            except Exception as error:
                logger().error("callback.postponed", exc_info=error)
            self._looking.rest()
            took_s = clock.monotonic() - started_s
            stop.wait(max(LOOK_S, LOOK_REST * took_s))

    def _offer(self, call: PendingCall) -> None:
        """Queue a webhook, unless this attempt of it is queued or under way already."""
        with self._changed:
            if self._attempts.get(call.upload_id, -1) >= call.attempt:
                return
            self._attempts[call.upload_id] = call.attempt
            self._queue.add(call, call.due_s)
            self._changed.notify()

    def _pause_s(self) -> float:
        due_s = self._queue.next_due_s()
        return IDLE_S if due_s is None else min(IDLE_S, due_s)

    def _call(self, call: PendingCall) -> None:
        """Make one attempt, and queue the next one, if there is any."""
        upload_id = call.upload_id
        try:
            next_call = on_finished(call, self._ctx, self._call_log, self._send)
            wait_s = next_call.due_s if next_call else 0.0
        except (TransientError, PermanentError) as error:
            next_call, wait_s = call, RETRY_S
            logger().warning(
                "callback.postponed",
                upload_id=upload_id,
                delay_s=wait_s,
                detail=error.code,
            )
        except Exception as error:
            next_call, wait_s = call, BUG_RETRY_S
            logger().error(
                "callback.postponed",
                upload_id=upload_id,
                delay_s=wait_s,
                exc_info=error,
            )
        with self._changed:
            self._queue.release(call)
            if next_call is None:
                self._attempts.pop(upload_id, None)
            else:
                self._attempts[upload_id] = next_call.attempt
                self._queue.add(next_call, wait_s)
            self._changed.notify()


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Run the process, or one command of `darkroom webhooks`; return its exit status.

    SIGTERM and SIGINT end it. Raises `SettingsError` without a secret.
    """
    store = S3Store(settings)
    ctx = Context(settings, store, Publisher(settings), store.clock)
    call_log = CallLog(store, settings.bucket_results, settings.callback_timeout_s)
    send = Sender(settings, store.clock)
    if arguments:
        return webhooks_cli.run(arguments, ctx, call_log, send)
    stop = threading.Event()
    on_termination(stop.set)
    notifier = Notifier(settings, store.clock)
    watch = StackWatch(settings, ctx.publisher)
    threading.Thread(target=watch.run, args=(stop,), name="watch", daemon=True).start()
    _serve(settings, Dispatcher(ctx, call_log, send), notifier, stop)
    logger().info("process.stopped")
    return 0


def _serve(
    settings: Settings,
    dispatcher: Dispatcher,
    notifier: Notifier,
    stop: threading.Event,
) -> None:
    """Consume messages and send webhooks and notices until `stop` is set."""
    with ThreadPoolExecutor(MESSAGE_WORKERS, "messages") as pool:

        def settle(delivery: Delivery) -> None:
            settle_with_retry(
                delivery,
                lambda: _take_in(delivery.body, dispatcher, notifier),
                settings,
                stop,
                "callback.message_failed",
            )

        def on_delivery(delivery: Delivery) -> None:
            pool.submit(settle, delivery)

        # Twice as many as workers: the next ones arrive while these are handled.
        prefetch = {topology.CALLBACKS: 2 * MESSAGE_WORKERS}
        consumer = Consumer(settings, prefetch, on_delivery)
        sending = threading.Thread(
            target=_send_all, args=(dispatcher, stop), name="messenger"
        )
        sending.start()
        metrics.begin_at_zero(metrics.CALLBACKS, OUTCOMES)
        _start_operations(settings, consumer, dispatcher)
        logger().info("process.started")
        try:
            consumer.run(stop)
        finally:
            stop.set()
            sending.join()


def _take_in(body: bytes, dispatcher: Dispatcher, notifier: Notifier) -> None:
    """Raises what `Dispatcher.take_in` raises."""
    notice = notice_in(body)
    if notice is None:
        dispatcher.take_in(body)
    else:
        notifier.tell(notice)


def _send_all(dispatcher: Dispatcher, stop: threading.Event) -> None:
    try:
        dispatcher.run(stop)
    finally:
        # Whatever ended it: a process that sends nothing must not go on consuming.
        stop.set()


def _start_operations(
    settings: Settings,
    consumer: Consumer,
    dispatcher: Dispatcher,
) -> None:
    parts = {"consumer": consumer.stuck_s, **dispatcher.parts}
    heartbeat = Heartbeat(settings, parts, {LOOK: MAX_QUIET_S})
    operations.start(
        settings,
        heartbeat,
        REGISTRY,
        lambda: {"broker": consumer.silent_s() < operations.FRESH_S},
    )


def _host_of(url: str, settings: Settings) -> str:
    """Return the host whose share of the threads a call to this URL takes.

    A URL that is not allowed any more has none: its attempts fail, each with the rule
    that forbids it, because settings may change again.
    """
    try:
        return check_url(url, settings).host
    except PermanentError:
        return ""
