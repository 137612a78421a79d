"""What one run of the rules deleted and kept."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel


class RetentionReport(BaseModel):
    """`deleted` and `bytes` by kind; in a dry run, what would have been. `kept`: why what
    a rule covers stays, by kind. `left`: kinds of which a next run deletes more.
    """

    dry_run: bool = False
    deleted: dict[str, int] = {}
    bytes: dict[str, int] = {}
    kept: dict[str, dict[str, int]] = {}
    left: list[str] = []
    failed: int = 0

    def add(self, what: str, size: int) -> None:
        """Count an object that was deleted."""
        self.deleted[what] = self.deleted.get(what, 0) + 1
        self.bytes[what] = self.bytes.get(what, 0) + size

    def keep(self, what: str, why: str) -> None:
        """Count an object that stays."""
        reasons = Counter(self.kept.get(what, {}))
        reasons[why] += 1
        self.kept[what] = dict(reasons)
