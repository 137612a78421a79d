"""What people upload while everything breaks: the same seed, the same files."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np
from PIL import Image

USERS = ("anonymous", "ann-the-first", "bob-the-second", "cyd-the-third")
ALBUM = "album-of-private-holidays"
"""In every key: a word that is nowhere else, so that it is noticed in a log."""
Kind = Literal["photo", "twin", "broken", "replacing", "withdrawn"]


@dataclass(frozen=True)
class Draft:
    """A file that is about to be uploaded.

    `twin`: bytes that this user sent before. `replacing`: new bytes under a key that
    was used before. `withdrawn`: deleted by its owner at once. `broken`: no photo at
    all, or half of one.
    """

    key: str
    data: bytes
    user: str
    priority: str
    kind: Kind

    @property
    def metadata(self) -> dict[str, str]:
        return {"user": self.user, "priority": self.priority, "workflow": "fast"}


def drafts(seed: int) -> Iterator[Draft]:
    """Without end."""
    rng = random.Random(seed)
    earlier: list[Draft] = []
    for number in count():
        kind = rng.choices(
            ("photo", "twin", "broken", "replacing", "withdrawn"), (80, 8, 5, 5, 2)
        )[0]
        model = rng.choice(earlier) if earlier else None
        priority = "interactive" if rng.random() < 0.2 else "bulk"
        user, key = rng.choice(USERS), f"{ALBUM} {seed}/{number:05d}.png"
        data = photo(seed * 1_000_000 + number, rng)
        if kind == "twin" and model:
            user, data = model.user, model.data
        elif kind == "replacing" and model:
            key = model.key
        elif kind == "broken":
            data = rng.choice(
                (data[: len(data) // 2], b"", b"<svg/>", b"%PDF-1.7 " + data)
            )
        elif kind != "withdrawn":
            kind = "photo"
        draft = Draft(key, data, user, priority, kind)
        if kind == "photo":
            earlier.append(draft)
        yield draft


def photo(seed: int, rng: random.Random) -> bytes:
    """A small PNG, fresh bytes for every seed."""
    rough = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(rough).resize(
        (rng.randrange(24, 120), rng.randrange(24, 120)), Image.Resampling.BICUBIC
    )
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
