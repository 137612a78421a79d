"""What the backup says of itself in the bucket, for whoever looks after Darkroom from a
machine on which the backup does not lie.
"""

from __future__ import annotations

from datetime import datetime

from shared.uploads import keys
from shared.uploads.documents import Document


class BackupState(Document):
    """`backup/state.json`: the last run that succeeded.

    `begun_at`: everything older is in the backup. `findings`: how many things it found
    wrong, such as an object that cannot be read.
    """

    begun_at: datetime
    seconds: float
    objects: int
    findings: int

    def place(self) -> str:
        """Key of the document."""
        return keys.BACKUP
