"""What one pass of the sweep, and one look between two passes, saw and did.

Some counts are printed under older names, which are a contract (`serialization_alias`).
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Report(BaseModel):
    """Counts, and the seconds that it took."""

    def printed(self) -> dict[str, Any]:
        """Return the counts by the names that the log, the command line and the
        metrics use.
        """
        return self.model_dump(by_alias=True)


class SweepReport(Report):
    """Counts of one pass. In a dry run, what would have been done."""

    dry_run: bool = False
    uploads: int = Field(default=0, description="Objects in the uploads bucket.")
    receipts: int = Field(default=0, description="Decisions in the bucket.")
    waiting: int = Field(
        default=0,
        description="Photos that wait for a worker or are worked on, as they should.",
    )
    notifications_missed: int = Field(
        default=0,
        serialization_alias="missed",
        description="Uploads whose notification was lost; decided on now.",
    )
    republished: int = Field(
        default=0, description="Photos whose message was lost; published again."
    )
    retried: int = Field(
        default=0,
        serialization_alias="called",
        description="Attempts that were due after a failure or a dead worker; published.",
    )
    events_resent: int = Field(
        default=0,
        serialization_alias="retold",
        description="Uploads whose end the audit log did not have; sent again.",
    )
    webhooks_requested: int = Field(
        default=0,
        serialization_alias="recalled",
        description="Ended uploads whose webhook was lost; requested again.",
    )
    damaged: int = Field(default=0, description="Documents that could not be read.")
    repaired: int = Field(
        default=0, description="Of these, made anew from what is left."
    )
    claims_deleted: int = Field(
        default=0, description="Claims of tasks for which no upload waits."
    )
    results_retired: int = Field(
        default=0, description="Results that no record names, moved to the archive."
    )
    multiparts_ended: int = Field(
        default=0, description="Uploads in parts that were abandoned half way; ended."
    )
    previews_expired: int = Field(
        default=0, description="Previews that were asked for long ago; deleted."
    )
    held_expired: int = Field(
        default=0, description="Uploads that nobody started in time; erased."
    )
    failed: int = Field(
        default=0,
        description="Objects that met a fault, and cost only themselves; for the next pass.",
    )
    seconds: float = 0.0


class Look(Report):
    """Counts of one look at what was uploaded of late, between two passes."""

    uploads: int = Field(default=0, description="Objects in the uploads bucket.")
    new: int = Field(
        default=0,
        description="Of these, looked at: new, or not yet seen with a receipt.",
    )
    notifications_missed: int = Field(
        default=0,
        serialization_alias="missed",
        description="Uploads whose notification was lost; decided on now.",
    )
    failed: int = Field(
        default=0, description="Uploads that met a fault; for the next look."
    )
    seconds: float = 0.0
