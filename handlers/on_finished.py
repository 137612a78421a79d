"""Trigger: an upload whose sender asked for a webhook has ended → one attempt to send
it.

An attempt begins in the call log before it is made, and its outcome is in the call log
before anything else happens. So whatever crashes, the webhook is sent at least once,
and not again after its success was written down. The `webhook-id` never changes, so
that a receiver can drop repetitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from handlers import metrics
from handlers.context import Context
from handlers.webhooks.call_log import CallLog, CallResult, Outcome, PendingCall
from handlers.webhooks.payload import Call, call_of
from handlers.webhooks.schedule import Schedule
from shared.broker import topology
from shared.broker.dead_letter import DeadLetter
from shared.errors import BrokerUnavailable, Code, DarkroomError
from shared.runtime import tracing
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.uploads.messages import CallbackDue

SUCCESS = range(200, 300)
GONE = 410
BROKER_S = 60.0
"""Wait until a webhook that is given up is dead-lettered once more, where the broker
was away.
"""

Send = Callable[[str, str, bytes, str | None], int]
"""URL, `webhook-id`, body and the user's pseudonym → HTTP status; raises
`DarkroomError`.
"""

EVENTS: dict[Outcome, str] = {
    "delivered": "callback.delivered",
    "disabled": "callback.disabled",
    "given_up": "callback.given_up",
}


@dataclass(frozen=True)
class _Response:
    """How one attempt went; `status` is None without an answer, `bug` an error that was
    not expected.
    """

    status: int | None
    detail: str
    bug: Exception | None = None

    @property
    def outcome(self) -> Outcome | None:
        """None: another attempt may follow."""
        if self.status is None:
            return None
        if self.status in SUCCESS:
            return "delivered"
        return "disabled" if self.status == GONE else None


_DISABLED_BEFORE = _Response(GONE, "the receiver answered 410 before")


def on_finished(
    pending: PendingCall,
    ctx: Context,
    call_log: CallLog,
    send: Send,
) -> PendingCall | None:
    """Make the next attempt of a webhook.

    Returns the webhook with the time of its next attempt, or None: it has ended, or
    another process makes this attempt. Raises `StorageUnavailable` and
    `PermanentError(bad_document)` before anything was sent.
    """
    call = call_of(ctx, pending.upload_id)
    begun = call_log.begin(pending)
    if begun is None:
        return None
    # Read after the attempt began: a process that finished the webhook meanwhile has
    # deleted the attempts that would have shown it.
    result = call_log.result(pending.upload_id)
    if call is None or (result is not None and result.event_id == call.event_id):
        call_log.clear(pending.upload_id)
        return None
    attempt = _Attempt(begun, call, ctx, call_log)
    if call_log.is_disabled(call.url, call.user_hash):
        attempt.finish("disabled", _DISABLED_BEFORE)
        return None
    with tracing.span(
        "webhook", call.traceparent, upload_id=pending.upload_id, attempt=begun.attempt
    ):
        response = _response(call, send)
    passing("callbacks.after_call")
    return attempt.settle(response)


def _response(call: Call, send: Send) -> _Response:
    try:
        status = send(call.url, call.event_id, call.body, call.user_hash)
    except DarkroomError as error:
        return _Response(None, error.detail)
    except Exception as error:
        # A bug is retried like any other failure, as often as the schedule allows.
        return _Response(None, type(error).__name__, error)
    return _Response(status, f"HTTP {status}")


@dataclass(frozen=True)
class _Attempt:
    """An attempt that has begun in the call log."""

    pending: PendingCall
    call: Call
    ctx: Context
    call_log: CallLog

    def settle(self, response: _Response) -> PendingCall | None:
        """Write down what came of the attempt."""
        outcome = response.outcome
        if outcome is not None:
            if outcome == "disabled":
                self.call_log.disable(self.call.url, self.call.user_hash)
            self.finish(outcome, response)
            return None
        wait_s = Schedule.of(self.ctx.settings).delay_s(self.pending.attempt)
        if wait_s is None and self._dead_letter(response.detail):
            self.finish("given_up", response)
            return None
        return self._postpone(wait_s or BROKER_S, response)

    def finish(self, outcome: Outcome, response: _Response) -> None:
        """Write the end of the webhook into the call log."""
        result = CallResult(
            upload_id=self.pending.upload_id,
            event_id=self.call.event_id,
            upload_time=self.call.upload_time,
            outcome=outcome,
            attempts=self.pending.attempt,
            status=response.status,
            detail=response.detail,
            at=self.ctx.clock.now(),
        )
        self.call_log.finish(result)
        metrics.CALLBACKS.labels(outcome=outcome).inc()
        logger().info(
            EVENTS[outcome],
            upload_id=result.upload_id,
            attempts=result.attempts,
            status=result.status,
        )

    def _postpone(self, wait_s: float, response: _Response) -> PendingCall:
        metrics.CALLBACKS.labels(outcome="failed").inc()
        logger().warning(
            "callback.failed",
            upload_id=self.pending.upload_id,
            attempt=self.pending.attempt,
            delay_s=round(wait_s, 1),
            detail=response.detail,
            exc_info=response.bug,
        )
        return self.call_log.postpone(
            self.pending, wait_s, response.status, response.detail
        )

    def _dead_letter(self, detail: str) -> bool:
        """Put a message into the dead-letter queue, from which a person can send it
        again. False: the broker is away.
        """
        attempts = self.pending.attempt
        letter = DeadLetter.of(
            topology.CALLBACKS,
            CallbackDue(upload_id=self.pending.upload_id).encode(),
            {},
            Code.ATTEMPTS_EXHAUSTED,
            f"{attempts} tries failed; the last one: {detail}",
            self.ctx.clock.now(),
        )
        try:
            letter.publish(self.ctx.publisher)
        except BrokerUnavailable:
            return False
        return True
