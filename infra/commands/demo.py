"""`darkroom demo`: start a stack, drop sample photos into the bucket, check all that
comes back, stop.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from infra import uploads
from infra.demo.contact_sheet import Pair, contact_sheet
from infra.demo.samples import (
    COLOUR_MODEL,
    DESCRIPTION,
    Sample,
    grey_portrait,
    samples,
)
from infra.local.state import Pids
from infra.uploads import Upload
from shared.errors import SettingsError
from shared.runtime.settings import Settings, StoreSettings
from shared.s3.store import S3Store
from shared.uploads.documents import Record

app = typer.Typer(add_completion=False)
TIMEOUT_S = 180
WIDTH = 150
console = Console(
    stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDTH
)


@dataclass
class Photo:
    """One sample on its way. `row` is its row of the log, once that says `success`."""

    sample: Sample
    upload: Upload
    row: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.upload.fault is not None or self.row is not None


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Where results and contact sheet are written.")
    ] = Path("demo-out"),
    colour: Annotated[
        bool,
        typer.Option(
            "--colour", help="Fetch the weights of DDColor, and colour one more photo."
        ),
    ] = False,
) -> None:
    """Restore sample photos on a stack of its own, and check every one."""
    raise typer.Exit(run(out, Settings.load().state_dir / "demo", colour))


def run(out_dir: Path, state_dir: Path, wants_colour: bool = False) -> int:
    """Returns the exit status: 0 only if every photo came back and its record, result
    and log row agree.

    A photo is coloured, too, where that is wanted and the weights can be fetched.
    """
    if "supervisor" in Pids(state_dir).alive():
        stop = f"DARKROOM_STATE_DIR={shlex.quote(str(state_dir))} darkroom down"
        raise SettingsError(
            f"a demo is already running in {state_dir}; wait for its end, or `{stop}`"
        )
    photos_in = samples()
    shutil.rmtree(state_dir, ignore_errors=True)
    if wants_colour and _has_colour(state_dir):
        photos_in.append(grey_portrait())
    started_s = time.monotonic()
    try:
        if status := _darkroom(
            "up", "--detach", state_dir=state_dir, saying="starting a stack of its own"
        ):
            return status  # it has said why
        settings = Settings.load(state_dir=state_dir)
        store = S3Store(settings)
        photos = [_drop(store, settings, sample) for sample in photos_in]
        _watch(store, settings, photos)
        disagreements = _report(store, settings, photos, out_dir)
    finally:
        _darkroom("down", state_dir=state_dir, saying="stopping its stack")
    for line in disagreements:
        console.print(f"[red]✗[/] {line}")
    if not disagreements:
        took_s = time.monotonic() - started_s
        console.print(
            f"[green]✓[/] {len(photos)} photos restored in {took_s:.0f} s; records, results, log rows agree"
        )
        console.print(f"  before and after: {out_dir / 'contact-sheet.png'}")
    return 1 if disagreements else 0


def _has_colour(state_dir: Path) -> bool:
    """Whether the weights of colour are here, after an attempt to fetch them; what
    hinders it is printed.
    """
    status = _darkroom(
        "models",
        "pull",
        COLOUR_MODEL,
        state_dir=state_dir,
        saying=f"fetching {COLOUR_MODEL}, 912 MB",
    )
    if status:
        console.print("colour is left out: its weights cannot be fetched here")
    return status == 0


def _darkroom(*arguments: str, state_dir: Path, saying: str) -> int:
    """Run a command of `darkroom` on the demo's own stack; its exit status.

    Its output is shown only when it fails.
    """
    environment = os.environ | {
        "DARKROOM_STATE_DIR": str(state_dir),
        "DARKROOM_BACKUP_INTERVAL_S": "0",
    }
    command = [sys.executable, "-P", "-m", "infra.cli", *arguments]
    with (
        console.status(saying) as shown,
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process,
    ):
        try:
            _, said = process.communicate()
        except KeyboardInterrupt:
            shown.update("interrupted; what had been started stops")
            process.wait()  # a terminal's Ctrl-C reached it, too
            raise
    if process.returncode:
        console.print(said.decode(errors="replace"), end="", markup=False)
    return process.returncode


def _drop(store: S3Store, settings: StoreSettings, sample: Sample) -> Photo:
    info = store.put(
        settings.bucket_uploads,
        sample.key,
        sample.data,
        sample.content_type,
        sample.metadata,
    )
    return Photo(sample, uploads.of_object(info))


def _watch(store: S3Store, settings: Settings, photos: list[Photo]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        lines = [progress.add_task(photo.sample.key, total=1) for photo in photos]
        while (
            not all(photo.ended for photo in photos) and time.monotonic() < deadline_s
        ):
            for line, photo in zip(lines, photos, strict=True):
                uploads.look(store, settings, photo.upload)
                if photo.upload.record is not None and photo.row is None:
                    photo.row = _row(settings, photo)
                description = f"{photo.sample.key}: {photo.upload.state}"
                progress.update(
                    line, description=description, completed=int(photo.ended)
                )
            time.sleep(0.1)


def _row(settings: Settings, photo: Photo) -> dict[str, Any] | None:
    """The photo's row of the log database, once it says `success`."""
    answer = httpx.get(
        f"{settings.api_url}/v1/tasks",
        params={"limit": 100},
        headers={"Authorization": f"Bearer {settings.api_key.get_secret_value()}"},
    )
    answer.raise_for_status()
    rows = [
        row
        for row in answer.json()["items"]
        if row["upload_id"] == photo.upload.upload_id
    ]
    return rows[0] if rows and rows[0]["status"] == "success" else None


def _report(
    store: S3Store, settings: StoreSettings, photos: list[Photo], out_dir: Path
) -> list[str]:
    """Print the table, write results and contact sheet; returns every disagreement
    found.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    table = Table(
        "photo", "task", "status", "before → after", "seconds", "engine", "result"
    )
    disagreements, pairs = [], []
    for number, photo in enumerate(photos, 1):
        record, row = photo.upload.record, photo.row
        if record is None or row is None:
            fault = photo.upload.fault
            disagreements.append(
                f"{photo.sample.key}: {fault.error_detail if fault else 'no result, or no log row'}"
            )
            continue
        data = store.read(settings.bucket_results, record.result_key)
        path = out_dir / f"{number}-{record.workflow.name}.png"
        path.write_bytes(data)
        disagreements += [
            f"{photo.sample.key}: {fault}"
            for fault in _disagreements(photo, record, row, data)
        ]
        mask = _mask(store, settings, record)
        pairs.append(_pair(photo, record, data, mask))
        table.add_row(
            photo.sample.key,
            record.task_id[:8],
            row["status"],
            _sizes(record),
            f"{record.duration_seconds:.1f}",
            f"{record.engine}/{record.device}",
            str(path),
        )
    console.print(table)
    _print_left_alone(photos)
    _print_captions(photos, pairs)
    _print_rows(photos)
    contact_sheet(pairs).save(out_dir / "contact-sheet.png")
    return disagreements


def _print_left_alone(photos: list[Photo]) -> None:
    """Which steps the look at a photo skipped, and why."""
    for photo in photos:
        record = photo.upload.record
        skipped = [step for step in record.steps if step.skipped] if record else []
        for step in skipped:
            assert step.skipped is not None
            console.print(
                f"  {photo.sample.key}: {step.step} skipped: {step.skipped.because}",
                markup=False,
            )


def _print_captions(photos: list[Photo], pairs: list[Pair]) -> None:
    """Which words came through, how large the print still is, and the copies."""
    restored = [photo for photo in photos if photo.upload.record and photo.row]
    for photo, pair in zip(restored, pairs, strict=True):
        caption, size_cm = _caption(pair.before), _print_cm(pair.after)
        if caption and size_cm:
            width, height = size_cm
            kept = f"the caption {caption!r}, and {width} x {height} cm in print"
            console.print(f"  {photo.sample.key}: as before: {kept}", markup=False)
        for copy in photo.upload.record.copies if photo.upload.record else []:
            console.print(f"  {photo.sample.key}: a copy, {copy.key}", markup=False)


def _caption(image: Image.Image) -> str:
    return str(image.getexif().get(DESCRIPTION, ""))


def _print_cm(image: Image.Image) -> tuple[float, float] | None:
    """Width and height in print; None for a picture that does not say."""
    dpi = image.info.get("dpi")
    if dpi is None:
        return None
    return round(image.width / dpi[0] * 2.54, 1), round(image.height / dpi[1] * 2.54, 1)


def _disagreements(
    photo: Photo, record: Record, row: dict[str, Any], data: bytes
) -> list[str]:
    image = Image.open(io.BytesIO(data))
    before = Image.open(io.BytesIO(photo.sample.data))
    checks = {
        "result is not what the record says": hashlib.sha256(data).hexdigest()
        == record.result_sha256,
        "result has another size than its record": image.size
        == (record.width, record.height),
        "record is about other bytes": hashlib.sha256(photo.sample.data).hexdigest()
        == record.source.sha256,
        "the caption is lost": _caption(before) in str(image.info.get("xmp", b"")),
        "the print has another size": _print_cm(image) == _print_cm(before),
        "log row names another task": row["task_id"] == record.task_id,
        "log row names another workflow": row["signature"] == record.workflow.signature,
        "log row names other bytes": row["sha256"] == record.source.sha256,
        "log row leads to another result": row["result_url"].endswith(
            record.result_key
        ),
    }
    return [fault for fault, agrees in checks.items() if not agrees]


def _mask(
    store: S3Store, settings: StoreSettings, record: Record
) -> Image.Image | None:
    if record.mask_key is None:
        return None
    data = store.read(settings.bucket_results, record.mask_key)
    return Image.open(io.BytesIO(data))


def _pair(photo: Photo, record: Record, data: bytes, mask: Image.Image | None) -> Pair:
    before = Image.open(io.BytesIO(photo.sample.data))
    about = f"{before.width} x {before.height} {before.mode} {before.format}, {len(photo.sample.data) // 1024} kB"
    planned = record.plan.steps if record.plan else []
    is_alone = all(step.skipped or step.step == "finish" for step in planned)
    after = f"{record.width} x {record.height}, {record.workflow.name}"
    after += ": fine, left alone" if is_alone else ""
    return Pair(before, Image.open(io.BytesIO(data)), about, after, mask)


def _sizes(record: Record) -> str:
    return (
        f"{record.source.width}×{record.source.height} → {record.width}×{record.height}"
    )


def _print_rows(photos: list[Photo]) -> None:
    table = Table(
        "upload_time",
        "task_id",
        "status",
        "workflow",
        "v",
        "signature",
        "attempts",
        "queue s",
        "run s",
        "peak MB",
        title="darkroom.restoration_log",
    )
    for row in (photo.row for photo in photos if photo.row):
        table.add_row(
            row["upload_time"],
            row["task_id"],
            row["status"],
            row["workflow_type"],
            str(row["workflow_version"]),
            row["signature"],
            str(row["attempts"]),
            f"{row['queue_seconds']:.2f}",
            f"{row['duration_seconds']:.2f}",
            str(row["peak_memory_bytes"] >> 20),
        )
    console.print(table)
