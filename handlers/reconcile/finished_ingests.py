"""Jobs of many photos whose end is to be told.

Finds: jobs with a webhook URL, everything of which was sent and has ended by the audit
log. Does: writes down what the webhook says, and requests it until the call log has it;
forgets it once it was made. Safe to repeat: a request for a webhook that is in the call
log changes nothing.
"""

from __future__ import annotations

from typing import Protocol

from handlers.audit_log.values import Filter
from handlers.context import Context
from handlers.webhooks.call_log import CallLog
from shared.broker import topology
from shared.runtime.telemetry import logger
from shared.uploads.ingests import IngestCall, IngestStore, have_ended
from shared.uploads.messages import CallbackDue, Status


class StatusCounts(Protocol):
    """What this needs of `handlers.audit_log.database.AuditLog`."""

    def by_status(self, where: Filter) -> dict[Status, int]: ...


def tell_finished(ctx: Context, audit_log: StatusCounts) -> int:
    """Request the webhooks of all jobs that have ended; return how many.

    Raises `StorageUnavailable`, `BrokerUnavailable` and `DatabaseUnavailable`.
    """
    settings = ctx.settings
    ingests = IngestStore(ctx.store, settings.bucket_results)
    calls = CallLog(ctx.store, settings.bucket_results, settings.callback_timeout_s)
    return sum(_tell(call, ctx, audit_log, ingests, calls) for call in ingests.calls())


def _tell(
    call: IngestCall,
    ctx: Context,
    audit_log: StatusCounts,
    ingests: IngestStore,
    calls: CallLog,
) -> bool:
    """Whether the webhook of this job was requested."""
    result = calls.result(call.job)
    if result is not None:
        # One that was given up stays, so that a person can have it sent again.
        if result.outcome != "given_up":
            ingests.delete_call(call.job)
        return False
    if call.finished_at is None:
        where = Filter(user_id=call.user_hash or None, ingest=call.job)
        counts = audit_log.by_status(where)
        if not have_ended(counts, call.sent):
            return False
        ingests.write_call(call.finished(counts, ctx.clock.now()))
        logger().info("ingest.finished", job=call.job, uploads=sum(counts.values()))
    elif calls.is_due(call.job):
        return False
    request = CallbackDue(upload_id=call.job).encode()
    ctx.publisher.publish(topology.CALLBACKS, request)
    return True
