"""How long a job will take, and how much it will make: by what the log says of photos
that went the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """A photo that was restored: bytes in, seconds of a worker, and bytes out."""

    bytes_in: int
    seconds: float
    bytes_out: int


@dataclass(frozen=True)
class Estimate:
    """`hours` are those of one worker; `photos` were looked at for it."""

    hours: float
    bytes_out: int
    photos: int


def estimated(bytes_in: int, samples: Iterable[Sample]) -> Estimate | None:
    """What so many bytes of photos come to, by the medians of the samples; None without
    any.
    """
    found = [sample for sample in samples if sample.bytes_in]
    if not found:
        return None
    seconds = median(sample.seconds / sample.bytes_in for sample in found)
    growth = median(sample.bytes_out / sample.bytes_in for sample in found)
    return Estimate(seconds * bytes_in / 3600, round(growth * bytes_in), len(found))
