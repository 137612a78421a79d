"""What one pass of the sweep saw and did."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SweepReport(BaseModel):
    """Counts of one pass. In a dry run, what would have been done."""

    dry_run: bool = False
    uploads: int = Field(default=0, description="Objects in the uploads bucket.")
    receipts: int = Field(default=0, description="Decisions in the bucket.")
    waiting: int = Field(
        default=0,
        description="Photos that wait for a worker or are worked on, as they should.",
    )
    missed: int = Field(
        default=0, description="Uploads whose notification was lost; decided on now."
    )
    republished: int = Field(
        default=0, description="Photos whose message was lost; published again."
    )
    called: int = Field(
        default=0,
        description="Tries that were due after a failure or a dead worker; published.",
    )
    retold: int = Field(
        default=0, description="Uploads whose end the diary did not know; told again."
    )
    recalled: int = Field(
        default=0, description="Ended uploads whose callback was lost; asked for again."
    )
    damaged: int = Field(default=0, description="Documents that could not be read.")
    repaired: int = Field(
        default=0, description="Of these, made anew from what is left."
    )
    claims_deleted: int = Field(
        default=0, description="Claims of tasks that nobody waits for."
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
    failed: int = Field(
        default=0,
        description="Objects that met a fault, and cost only themselves; for the next pass.",
    )
    seconds: float = 0.0


class Look(BaseModel):
    """Counts of one look at what was uploaded of late, between two passes."""

    uploads: int = Field(default=0, description="Objects in the uploads bucket.")
    new: int = Field(
        default=0,
        description="Of these, asked about: new, or not yet seen with a receipt.",
    )
    missed: int = Field(
        default=0, description="Uploads whose notification was lost; decided on now."
    )
    failed: int = Field(
        default=0, description="Uploads that met a fault; for the next look."
    )
    seconds: float = 0.0
