"""All figures of the look together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpu_worker.look.colour import colour
from gpu_worker.look.detail import detail
from gpu_worker.look.haze import haze
from gpu_worker.look.samples import levels, luma, windows
from gpu_worker.photo import Photo

DIGITS = 3
"""The figures are rounded, so that the record holds what was compared."""


@dataclass(frozen=True)
class Look:
    """What was measured of one photo. The units stand in the modules that measure:
    `colour`, `detail` and `haze`. `width`, `height`: of the upright photo [px].

    `faces`: how many were found; None: faces were not looked at. `face_sharpness`: of
    the least sharp of them; None where there is none. `scratches`: how many there are
    for certain; None: they were not looked for.
    """

    width: int
    height: int
    colourfulness: float
    strongest_colour: float
    tone: float
    noise: float
    blockiness: float
    sharpness: float
    haze: float
    faces: int | None = None
    face_sharpness: float | None = None
    scratches: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, for the record."""
        return asdict(self)


def look(photo: Photo, detector: Path | None = None) -> Look:
    """Measure a photo. The same pixels give the same figures.

    Faces are looked for where a `detector`, the file of YuNet, is given.
    """
    in_colour = colour(photo.pixels)
    fine = detail(list(windows(photo.pixels)))
    faces, face_sharpness = _faces(photo, detector)
    return Look(
        width=photo.width,
        height=photo.height,
        colourfulness=round(in_colour.colourfulness, DIGITS),
        strongest_colour=round(in_colour.strongest, DIGITS),
        tone=round(in_colour.tone, DIGITS),
        noise=round(fine.noise, DIGITS),
        blockiness=round(fine.blockiness, DIGITS),
        sharpness=round(fine.sharpness, DIGITS),
        haze=round(haze(photo.pixels), DIGITS),
        faces=faces,
        face_sharpness=face_sharpness,
    )


def _faces(photo: Photo, detector: Path | None) -> tuple[int | None, float | None]:
    """How many faces there are, and how sharp the least sharp of them is."""
    if detector is None:
        return None, None
    # OpenCV, which finds faces, is not on every worker.
    from gpu_worker.steps import face_geometry

    sharpness = []
    for points in face_geometry.find(photo.pixels, detector):
        place = face_geometry.place(points, photo.width, photo.height)
        if place is not None:
            face = luma(levels(photo.pixels[place.window]))
            sharpness.append(detail([face]).sharpness)
    if not sharpness:
        return 0, None
    return len(sharpness), round(min(sharpness), DIGITS)
