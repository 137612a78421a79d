"""Reports as PDF/A, each made by a confined process of its own (`pdf_child`)."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from handlers.reports.sheet import Sheet
from shared.errors import Code, TransientError
from shared.runtime.installation import missing_library
from shared.runtime.telemetry import logger

CHILD = "handlers.reports.pdf_child"
NEEDED = {"typst": "typst", "pylopdf_fonts_zh_cn": "its fonts", "PIL": "Pillow"}
"""Packages of the extra `report`, and what an error calls them."""
AT_ONCE = 2
"""Reports that are made at a time; each takes a core for half a second, and 200 MB."""
WAITING = 4
"""Reports that wait for their turn; each holds a thread of the server meanwhile."""
WAIT_S = 15.0
"""How long one waits."""
LIMIT_S = 30.0
"""How long one may take, on a machine that is busy."""
PicturesOf = Callable[[], Mapping[str, bytes]]
ROOT = Path(__file__).parents[2]

_places = threading.BoundedSemaphore(AT_ONCE + WAITING)
_turns = threading.BoundedSemaphore(AT_ONCE)


def need_typst() -> None:
    """Raises `SettingsError` where the extra `report` is not installed, with the command
    that helps.
    """
    for package, name in NEEDED.items():
        if find_spec(package) is None:
            raise missing_library(name, "report", "a report as PDF")


def render(
    sheet: Sheet,
    qr: str,
    pictures: PicturesOf,
    charts: Mapping[str, str] | None = None,
) -> bytes:
    """The sheet as PDF/A-2a. `qr`: an SVG, or ""; `pictures`: reads those of the sheet,
    as they were found, once it is its turn: what cannot be shown is left out; `charts`:
    the SVG of each chart of its tables.

    Raises `SettingsError` where the extra `report` is missing, `TransientError` where
    there is no turn for it, or no time or memory.
    """
    need_typst()
    with _held(_places, 0), _held(_turns, WAIT_S):
        return _made(_request(sheet, qr, pictures(), charts or {}))


@contextmanager
def _held(turns: threading.BoundedSemaphore, wait_s: float) -> Iterator[None]:
    """Hold one of the turns. Raises `TransientError` where none is free in time."""
    if not turns.acquire(timeout=wait_s):
        detail = "other reports are being made already; try again in a moment"
        raise TransientError(Code.INTERNAL, detail)
    try:
        yield
    finally:
        turns.release()


def _request(
    sheet: Sheet, qr: str, pictures: Mapping[str, bytes], charts: Mapping[str, str]
) -> bytes:
    """One line of JSON, then the pictures' bytes."""
    header = {
        "sheet": asdict(sheet),
        "qr": qr,
        "charts": dict(charts),
        "made_at": int(sheet.made_at.timestamp()),
        "pictures": [(name, len(data)) for name, data in pictures.items()],
    }
    line = json.dumps(header, default=str).encode() + b"\n"
    return b"".join([line, *pictures.values()])


def _made(request: bytes) -> bytes:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", CHILD],
            input=request,
            capture_output=True,
            timeout=LIMIT_S,
            # It knows where our code is, and nothing else of this process.
            env={"PYTHONPATH": str(ROOT), "RAYON_NUM_THREADS": "2"},
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        logger().warning("report.failed", signal="time limit")
        detail = f"the PDF was not made within {LIMIT_S:g} s; try again when the machine is less busy"
        raise TransientError(Code.INTERNAL, detail) from error
    if done.returncode == 0 and done.stdout.startswith(b"%PDF-"):
        return done.stdout
    if done.returncode < 0:
        logger().warning("report.failed", signal=-done.returncode)
        detail = "the process that makes the PDF was ended, as happens when memory runs out; try again"
        raise TransientError(Code.INTERNAL, detail)
    # Its words may quote what a user wrote: they are not logged.
    kind = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise RuntimeError(f"the report's process failed: {kind.partition(':')[0]}")
