"""A decoded photo: what every step takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Mask = NDArray[np.bool_]
Depth = np.dtype[np.uint8] | np.dtype[np.uint16]


def depth_of(pixels: Pixels) -> Depth:
    """The type of the pixels."""
    return pixels.dtype


def top_level(dtype: Depth) -> np.float32:
    """The level of white: the largest value that the type of pixels has."""
    return np.float32(np.iinfo(dtype).max)


class Property(BaseModel):
    """One XMP property of a photo's captions, or an item or a field inside of one.

    `name`: namespace prefix and local name, as in `dc:title`; empty for the items of an
    array. `kind`: a text, one of RDF's arrays, or a structure. `lang`: the language of
    a text, where one is given. All of it fits into XML as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9]+:[A-Za-z_][\w.-]*)?$")] = ""
    kind: Literal["text", "Bag", "Seq", "Alt", "struct"] = "text"
    text: Annotated[
        str, Field(pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]*$")
    ] = ""
    lang: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")] = ""
    items: tuple[Property, ...] = ()


Captions = tuple[Property, ...]
"""What people wrote about a photo: title, description, keywords, names, places, rights.
"""


@dataclass(frozen=True)
class Metadata:
    """What a photo carries beside its pixels and keeps through restoration.

    `dpi`: pixels per inch, across and down; `exif` says the same where it says
    anything. `greys`: the sRGB colours of the profile's 256 greys, three bytes each;
    None for a photo without a profile.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    greys: bytes | None = None
    captions: Captions = ()

    def with_icc(self, icc: bytes | None, greys: bytes | None = None) -> Metadata:
        """The same metadata with another profile, or with none."""
        return replace(self, icc=icc, greys=greys)

    def with_captions(self, captions: Captions) -> Metadata:
        """The same metadata with other captions."""
        return replace(self, captions=captions)

    def scaled(self, across: float, down: float) -> Metadata:
        """The metadata of a picture with so many times the pixels, which is as large in
        print as before.
        """
        if self.dpi is None:
            return self
        return replace(self, dpi=(self.dpi[0] * across, self.dpi[1] * down))


@dataclass(frozen=True)
class Photo:
    """Upright pixels with their metadata.

    `pixels`: (height, width, channels), uint8 or uint16 over the type's full range,
    C-contiguous; channels is 1 (grey) or 3 (RGB order), gamma-encoded in the space of
    `meta.icc` (sRGB without one). `alpha`: (height, width), same dtype, straight (not
    premultiplied), or None. The EXIF orientation is already applied. `source_mode`: the
    file's own mode, in Pillow's words. `notes`: what a reader of the record should
    know, each a sentence.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    meta: Metadata = field(default_factory=Metadata)
    source_mode: str = "RGB"
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def resized(self, pixels: Pixels, alpha: Pixels | None) -> Photo:
        """The whole photo in another size."""
        across = pixels.shape[1] / self.width
        down = pixels.shape[0] / self.height
        meta = self.meta.scaled(across, down)
        return replace(self, pixels=pixels, alpha=alpha, meta=meta)

    def with_(self, **changes: Any) -> Photo:
        """The same photo with some fields replaced."""
        return replace(self, **changes)
