"""What became of one storage event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.errors import Code
from shared.uploads.documents import Receipt

DecisionKind = Literal["queued", "held", "duplicate", "rejected", "ignored"]


@dataclass(frozen=True)
class Decision:
    """The decision on an upload. `repeated`: it was made before, and nothing was done
    now.
    """

    kind: DecisionKind
    upload_id: str | None = None
    task_id: str | None = None
    code: Code | None = None
    repeated: bool = False

    @classmethod
    def of(cls, receipt: Receipt, repeated: bool = False) -> Decision:
        """The decision that a receipt holds."""
        code = receipt.fault.error_code if receipt.fault else None
        return cls(receipt.decision, receipt.upload_id, receipt.task_id, code, repeated)
