"""Camera raw: what a sensor saw, in a file that is laid out as a TIFF. So are DNG, Canon's
CR2, and NEF, ARW, PEF and SRW, in which the sensor's picture has the photometric
interpretation of TIFF/EP (ISO 12234-2).
"""

from __future__ import annotations

from collections.abc import Mapping

SUBFILE, PHOTOMETRIC, DNG_VERSION = 254, 262, 50706
REDUCED = 0b1
"""Bit of a directory that is a smaller copy of another one."""
_CANON = b"II*\0\x10\0\0\0CR\2\0"
_SENSOR = (32803, 34892)
"""The mosaic of a sensor, and what was made of one without a curve."""


def is_camera_raw(beginning: bytes, tags: Mapping[int, int]) -> bool:
    """Whether the picture is elsewhere than where a TIFF has it. `beginning`: twelve
    bytes of the file or more; `tags`: those of its first directory, which of most
    cameras is that of a preview. No other TIFF begins with a preview: the handlers let
    none in.
    """
    return (
        DNG_VERSION in tags
        or is_of_canon(beginning)
        or tags.get(PHOTOMETRIC) in _SENSOR
        or bool(tags.get(SUBFILE, 0) & REDUCED)
    )


def is_of_canon(beginning: bytes) -> bool:
    """Whether the file is a CR2."""
    return beginning.startswith(_CANON)


def is_sensor(tags: Mapping[int, int]) -> bool:
    """Whether a directory is that of the sensor's picture."""
    is_reduced = tags.get(SUBFILE, 0) & REDUCED
    return not is_reduced and tags.get(PHOTOMETRIC) in _SENSOR
