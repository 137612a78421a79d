"""What the pipeline itself costs: time from PUT to result, beyond the inference, one
photo at a time.
"""

from __future__ import annotations

import hashlib
import io
import statistics
import time
from dataclasses import asdict, dataclass
from uuid import uuid4

import numpy as np
from PIL import Image

from infra import uploads
from shared.errors import Code, PermanentError, TransientError
from shared.runtime.settings import StoreSettings
from shared.s3.store import S3Store
from shared.uploads.documents import Record

POLL_S = 0.004
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class PipelineFigures:
    """Milliseconds over `photos` photos, sent one after another to an idle stack."""

    photos: int
    side_px: int
    overhead_ms_median: float
    overhead_ms_low: float
    overhead_ms_high: float
    total_ms_median: float
    inference_ms_median: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def measure(
    settings: StoreSettings, photos: int = 15, side_px: int = 64
) -> PipelineFigures:
    """Send `photos` noise pictures of `side_px`² through `fast`. The first is a warm-up
    and does not count.
    """
    store = S3Store(settings)
    runs = [_one(store, settings, side_px) for _ in range(photos + 1)][1:]
    overheads = sorted(total - inference for total, inference in runs)
    return PipelineFigures(
        photos,
        side_px,
        statistics.median(overheads),
        overheads[0],
        overheads[-1],
        statistics.median(total for total, _ in runs),
        statistics.median(inference for _, inference in runs),
    )


def _one(store: S3Store, settings: StoreSettings, side_px: int) -> tuple[float, float]:
    """Total and inference time of one photo [ms], from the start of its PUT."""
    data = noise(side_px)
    key = f"incoming/fast/bench/{hashlib.sha256(data).hexdigest()[:16]}.png"
    began_s = time.perf_counter()
    info = store.put(settings.bucket_uploads, key, data, "image/png")
    record = wait(store, settings, uploads.of_object(info), POLL_S, TIMEOUT_S)
    total_ms = (time.perf_counter() - began_s) * 1000
    inference_ms = sum(step.seconds for step in record.steps if step.model) * 1000
    return total_ms, inference_ms


def wait(
    store: S3Store,
    settings: StoreSettings,
    upload: uploads.Upload,
    poll_s: float,
    timeout_s: float,
) -> Record:
    """The upload's record. Raises what its reason says, or `TransientError` after
    `timeout_s`.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        uploads.look(store, settings, upload)
        if upload.record:
            return upload.record
        if upload.fault:
            raise PermanentError(upload.fault.error_code, upload.fault.error_detail)
        time.sleep(poll_s)
    detail = f"{upload.upload_id} was not restored within {timeout_s:.0f} s; `darkroom status` says what is down"
    raise TransientError(Code.INTERNAL, detail)


def noise(side_px: int) -> bytes:
    """A PNG of `side_px`² random pixels."""
    # fresh bytes each time: the same photo twice would be answered without work
    seed = uuid4().int % 2**32
    pixels = np.random.default_rng(seed).integers(
        0, 255, (side_px, side_px, 3), dtype=np.uint8
    )
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
