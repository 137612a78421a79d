"""`bench credentials`: what a signature takes, beside hashing the same file."""

from __future__ import annotations

import hashlib
import random
import resource
import struct
import tempfile
import time
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

from infra.bench.figures import Spread, show
from shared.credentials import confined, identity
from shared.credentials.definition import ORIGINAL, SOURCE_TYPES
from shared.credentials.identity import Identity
from shared.runtime.settings import Settings

SIDES = {"29 MB, embedded": (3110, True), "500 MB, sidecar": (12910, False)}
"""The smaller one comes first: memory is told as the most that any child had so far."""
KIB = 1024
SIGNATURE = b"\x89PNG\r\n\x1a\n"
TRUECOLOUR = (8, 2, 0, 0, 0)
"""Bits, kind of colour, compression, filters, no interlacing."""
NO_FILTER = b"\0"
ROWS = 64


def run(settings: Settings, rounds: int, as_json: bool) -> int:
    """Print seconds and memory of signing pictures of noise, which no PNG packs."""
    who = identity.load(settings)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "noise.png"
        _write_noise(file, 16)
        _signed(who, file, embeds=True)
        idle_kib = _peak_kib()
        for name, (side, embeds) in SIDES.items():
            _write_noise(file, side)
            taken = [_signed(who, file, embeds=embeds) for _ in range(rounds)]
            hashing_s = [_hashed(file) for _ in range(rounds)]
            rows[name] = {
                "mb": file.stat().st_size / 1e6,
                "seconds": Spread.of([each.wall_s for each in taken]),
                "cpu_seconds": Spread.of([each.cpu_s for each in taken]),
                "hash_seconds": Spread.of(hashing_s),
                "idle_mb": idle_kib * KIB / 1e6,
                "peak_mb": _peak_kib() * KIB / 1e6,
            }
    return show("credentials", {"rounds": rounds}, rows, as_json)


def _write_noise(file: Path, side: int) -> None:
    """A PNG in pieces: what a parent once took counts as its children's memory, too."""
    noise = random.Random(1)  # noqa: S311 - pixels of a bench
    packer = zlib.compressobj(0)
    with file.open("wb") as out:
        out.write(SIGNATURE)
        header = struct.pack(">2I5B", side, side, *TRUECOLOUR)
        out.write(_chunk(b"IHDR", header))
        for top in range(0, side, ROWS):
            count = min(ROWS, side - top)
            rows = b"".join(NO_FILTER + noise.randbytes(3 * side) for _ in range(count))
            out.write(_chunk(b"IDAT", packer.compress(rows)))
        out.write(_chunk(b"IDAT", packer.flush()))
        out.write(_chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


class _Taken(NamedTuple):
    wall_s: float
    cpu_s: float


def _signed(who: Identity, file: Path, *, embeds: bool) -> _Taken:
    """What one signature took, the start of its process included."""
    began_s, used_s = time.perf_counter(), _cpu_s()
    with (
        file.open("rb") as asset,
        tempfile.TemporaryFile() as out,
    ):
        _sign(who, asset, out, embeds=embeds)
    return _Taken(time.perf_counter() - began_s, _cpu_s() - used_s)


def _sign(
    who: Identity,
    asset: IO[bytes],
    out: IO[bytes],
    *,
    embeds: bool,
) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [ORIGINAL]}}
    enhanced = {
        "action": "c2pa.enhanced",
        "when": now,
        "digitalSourceType": f"{SOURCE_TYPES}algorithmicallyEnhanced",
    }
    definition = {
        "claim_generator_info": [{"name": "Darkroom bench"}],
        "format": "image/png",
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "created": True,
                "data": {"actions": [opened, enhanced]},
            }
        ],
    }
    parent = {
        "title": ORIGINAL,
        "format": "image/png",
        "relationship": "parentOf",
        "label": ORIGINAL,
    }
    confined.sign(who, definition, parent, asset, None, out, embeds=embeds)


def _hashed(file: Path) -> float:
    began_s = time.perf_counter()
    with file.open("rb") as opened:
        hashlib.file_digest(opened, "sha256")
    return time.perf_counter() - began_s


def _cpu_s() -> float:
    """Time on processors of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_kib() -> int:
    """The most memory that any child of this process had."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
