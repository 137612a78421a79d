"""What the routes of the API share, built once for an app."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.http.api.expectations import Expectations
from handlers.http.api.ownership import Ownership
from handlers.http.api.pyramids import Pyramids
from handlers.http.api.safe_forms import SafeForms
from handlers.http.api.streams import Streams
from handlers.http.auth.preview_limits import PreviewLimit
from handlers.http.iiif.zip_index import Indexes
from shared.broker.oldest import OldestMessages
from shared.s3.presign import Presigner


@dataclass(frozen=True)
class Services:
    ctx: Context
    audit_log: AuditLog
    ownership: Ownership
    presigner: Presigner
    safe_forms: SafeForms
    previews: PreviewLimit
    streams: Streams
    expectations: Expectations
    oldest: OldestMessages
    pyramids: Pyramids
    indexes: Indexes

    @classmethod
    def of(cls, ctx: Context) -> Services:
        audit_log = AuditLog(ctx.settings)
        ownership = Ownership(ctx, audit_log)
        return cls(
            ctx=ctx,
            audit_log=audit_log,
            ownership=ownership,
            presigner=Presigner(ctx.settings),
            safe_forms=SafeForms(ctx),
            previews=PreviewLimit(ctx.settings.limit_previews),
            streams=Streams(),
            expectations=Expectations(audit_log, ctx.clock),
            oldest=OldestMessages(),
            pyramids=Pyramids(ctx, ownership),
            indexes=Indexes(ctx.store, ctx.clock),
        )
