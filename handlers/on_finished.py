"""Trigger: an upload whose sender wants to be called has ended → one try to call.

What comes of it is in the ledger before anything else happens, and a try is begun there
before it is made: whatever dies, the call is made at least once, and not again after
its success was written down. The `webhook-id` of a call never changes, so a receiver
tells a repetition by it.
"""

from __future__ import annotations

from collections.abc import Callable

from handlers.context import Context
from handlers.webhooks.call_log import Due, Ledger, Outcome, Told
from handlers.webhooks.payload import Call, call_of
from handlers.webhooks.schedule import Schedule
from shared.broker import topology
from shared.errors import BrokerUnavailable, Code, DarkroomError
from shared.runtime.failpoints import passing
from shared.runtime.telemetry import logger
from shared.uploads.messages import CallbackDue

SUCCESS = range(200, 300)
GONE = 410
BROKER_S = 60.0

Send = Callable[[str, str, bytes, str | None], int]
"""URL, `webhook-id`, body and the user's pseudonym → HTTP status; raises
`DarkroomError`.
"""


def on_finished(due: Due, ctx: Context, ledger: Ledger, send: Send) -> Due | None:
    """Make the next try. Returns the call as it is due then; None: it is over, or
    somebody else's.

    Raises `StorageUnavailable`, and `PermanentError(bad_document)`: nothing was tried.
    """
    call = call_of(ctx, due.upload_id)
    begun = ledger.begin(due)
    if begun is None:
        return None
    # Only now: a process that finished it meanwhile has deleted the tries, by which we
    # could have known.
    told = ledger.told(due.upload_id)
    if call is None or (told is not None and told.event_id == call.event_id):
        ledger.forget(due.upload_id)
        return None
    if ledger.is_off(call.url, call.user_hash):
        _finish(
            begun,
            call,
            ctx,
            ledger,
            "disabled",
            GONE,
            "the receiver answered 410 before",
        )
        return None
    return _try(begun, call, ctx, ledger, send)


def _try(due: Due, call: Call, ctx: Context, ledger: Ledger, send: Send) -> Due | None:
    status, bug = None, None
    try:
        status = send(call.url, call.event_id, call.body, call.user_hash)
        detail = f"HTTP {status}"
    except DarkroomError as error:
        detail = error.detail
    # tried again like every other failure, until the tries run out
    except Exception as error:
        detail, bug = type(error).__name__, error
    passing("callbacks.after_call")
    if outcome := _outcome(status):
        if outcome == "disabled":
            ledger.switch_off(call.url, call.user_hash)
        _finish(due, call, ctx, ledger, outcome, status, detail)
        return None
    wait_s = Schedule.of(ctx.settings).delay_s(due.attempt)
    if wait_s is None and _set_aside(due, ctx, detail):
        _finish(due, call, ctx, ledger, "given_up", status, detail)
        return None
    wait_s = wait_s or BROKER_S
    logger().warning(
        "callback.failed",
        upload_id=due.upload_id,
        attempt=due.attempt,
        delay_s=round(wait_s, 1),
        detail=detail,
        exc_info=bug,
    )
    return ledger.postpone(due, wait_s, status, detail)


def _outcome(status: int | None) -> Outcome | None:
    """None: not the end, there may be another try."""
    if status in SUCCESS:
        return "delivered"
    return "disabled" if status == GONE else None


def _finish(
    due: Due,
    call: Call,
    ctx: Context,
    ledger: Ledger,
    outcome: Outcome,
    status: int | None,
    detail: str,
) -> None:
    ledger.finish(
        Told(
            upload_id=due.upload_id,
            event_id=call.event_id,
            upload_time=call.upload_time,
            outcome=outcome,
            attempts=due.attempt,
            status=status,
            detail=detail,
            at=ctx.clock.now(),
        )
    )
    logger().info(
        f"callback.{outcome}",
        upload_id=due.upload_id,
        attempts=due.attempt,
        status=status,
    )


def _set_aside(due: Due, ctx: Context, detail: str) -> bool:
    """Into the dead queue, from which a person can send it on its way again. False: the
    broker is away.
    """
    reason = {
        "code": str(Code.ATTEMPTS_EXHAUSTED),
        "detail": f"{due.attempt} tries failed; the last one: {detail}",
        "queue": topology.CALLBACKS,
        "at": ctx.clock.now().isoformat(),
    }
    try:
        ctx.publisher.publish(
            topology.dead(topology.CALLBACKS),
            CallbackDue(upload_id=due.upload_id).encode(),
            reason,
        )
    except BrokerUnavailable:
        return False
    return True
