"""A job whose photos are ready to go out."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from infra.export import sinks
from infra.export.bag import Part
from infra.export.layouts import Export, Layout
from infra.ingest.progress import ItemState
from infra.uploads import Upload
from shared.errors import Code
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.uploads.documents import Copy, ModelRef, StepTime
from shared.uploads.ingests import IngestItem, SkippedFile
from shared.uploads.outcome import outcome_of
from tests.support.reconcile_world import Town
from tests.support.records import record_of

DAY = date(2026, 11, 30)


class Job:
    """A job of four photos: two and a twin restored, one that failed."""

    def __init__(self) -> None:
        self.town = Town()
        self.store: Any = self.town.store
        self.settings = Settings()
        self.skipped: list[SkippedFile] = []
        self.states = [
            self.restored(1, "objects/1931/a.jpg"),
            self.restored(2, "objects/1945/a.jpg"),
            self.restored(2, "objects/1945/twin.jpg"),
            ItemState(
                IngestItem(item=3, path="objects/b.jpg", words={"dc.title": "Grandpa"}),
                "unsent",
                code=Code.CHECKSUM_MISMATCH,
                detail="differs",
            ),
        ]

    def restored(self, number: int, path: str) -> ItemState:
        upload_id = self.town.upload(f"{number}.png")
        receipt = self.town.receipt(upload_id)
        record = record_of(
            receipt,
            receipt.decided_at,
            steps=[StepTime(step="upscale", seconds=1, model="fast")],
            models=[ModelRef(name="fast", sha256="cd" * 32)],
        )
        self.store.put("results", record.result_key, b"result", "image/png")
        if number == 1:
            record = record.model_copy(update={"copies": [self.copy(record.task_id)]})
        upload = Upload(
            receipt.upload_id,
            receipt=receipt,
            outcome=outcome_of(receipt, record, None),
        )
        item = IngestItem(
            item=number, path=path, upload_id=receipt.upload_id, words={"dc.title": "="}
        )
        return ItemState(item, "restored", upload)

    def copy(self, task_id: str) -> Copy:
        key = keys.copy(task_id, "jpg")
        self.store.put("results", key, b"copy", "image/jpeg")
        return Copy(format="jpeg", key=key, sha256="ab" * 32, bytes=4)

    def export(
        self, out: Path, layout: Layout, part: Part | None = None, **options: Any
    ) -> None:
        with sinks.opened(out) as sink:
            export = Export(self.store, self.settings, sink, layout, **options)
            for state in self.states:
                export.add(state)
            export.finish("album", DAY, part, self.skipped)
            self.lacking = export.lacking
