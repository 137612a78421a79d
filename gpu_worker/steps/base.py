"""What every step takes and gives beside the photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpu_worker.photo import Photo
from shared.runtime.settings import Settings


@dataclass(frozen=True)
class Tools:
    """What a step may use. `progress` takes the fraction of the step that is done."""

    settings: Settings
    progress: Callable[[float], None]


@dataclass(frozen=True)
class StepResult:
    """The photo that a step made.

    `detail` goes into the record. `tile` says how the photo was cut into tiles; it is
    empty when the step cuts none.
    """

    photo: Photo
    detail: dict[str, Any] = field(default_factory=dict)
    tile: dict[str, Any] = field(default_factory=dict)
