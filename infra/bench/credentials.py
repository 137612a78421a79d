"""`bench credentials`: what a signature takes, beside hashing the same file."""

from __future__ import annotations

import hashlib
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from infra.bench.figures import Spread, show
from infra.credentials import confined, identity
from infra.credentials.definition import ORIGINAL, SOURCE_TYPES
from infra.credentials.identity import Identity
from shared.runtime.settings import Settings

SIDES = {"29 MB, embedded": (3110, True), "500 MB, sidecar": (12910, False)}
"""The smaller one comes first: memory is told as the most that any child had so far."""
MIB = 1024


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
            signing_s = [_signed(who, file, embeds=embeds) for _ in range(rounds)]
            hashing_s = [_hashed(file) for _ in range(rounds)]
            rows[name] = {
                "mb": file.stat().st_size / 1e6,
                "seconds": Spread.of(signing_s),
                "hash_seconds": Spread.of(hashing_s),
                "mb_above_idle": (_peak_kib() - idle_kib) * MIB / 1e6,
            }
    return show("credentials", {"rounds": rounds}, rows, as_json)


def _write_noise(file: Path, side: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, compress_level=0)


def _signed(who: Identity, file: Path, *, embeds: bool) -> float:
    """Seconds of one signature, the start of its process included."""
    began_s = time.perf_counter()
    with (
        file.open("rb") as asset,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as original,
    ):
        _sign(who, asset, original, out, embeds=embeds)
    return time.perf_counter() - began_s


def _sign(
    who: Identity,
    asset: IO[bytes],
    original: IO[bytes],
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
    Image.new("RGB", (64, 64)).save(original, "PNG")
    original.flush()
    confined.sign(who, definition, parent, asset, original, out, embeds=embeds)


def _hashed(file: Path) -> float:
    began_s = time.perf_counter()
    with file.open("rb") as opened:
        hashlib.file_digest(opened, "sha256")
    return time.perf_counter() - began_s


def _peak_kib() -> int:
    """The most memory that any child of this process had."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
