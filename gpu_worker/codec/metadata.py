"""What a photo keeps beside its pixels: a fixed list of EXIF fields, resolution, colour
profile. Nothing else.

A list of what stays, not of what goes: maker notes, serial numbers, owner names,
thumbnails of the unrestored picture, comments and XMP all fall away without being known
by name. The position stays only when a setting says so.
"""

from __future__ import annotations

import math
from typing import Any

from PIL import ExifTags, Image

from gpu_worker.codec import colour, profiles
from gpu_worker.photo import Metadata

_B = ExifTags.Base
_MAX_VALUE_BYTES = 1024
_MAX_DPI = 100_000
_POSITION = int(ExifTags.IFD.GPSInfo)
_DETAILS = int(ExifTags.IFD.Exif)

MAIN_FIELDS = frozenset(
    {
        _B.Make,
        _B.Model,
        _B.DateTime,
        _B.Artist,
        _B.Copyright,
        _B.XResolution,
        _B.YResolution,
        _B.ResolutionUnit,
    }
)
DETAIL_FIELDS = frozenset(
    {
        _B.ExifVersion,
        _B.DateTimeOriginal,
        _B.DateTimeDigitized,
        _B.SubsecTime,
        _B.SubsecTimeOriginal,
        _B.SubsecTimeDigitized,
        _B.OffsetTime,
        _B.OffsetTimeOriginal,
        _B.OffsetTimeDigitized,
        _B.ExposureTime,
        _B.FNumber,
        _B.ExposureProgram,
        _B.ISOSpeedRatings,
        _B.SensitivityType,
        _B.ShutterSpeedValue,
        _B.ApertureValue,
        _B.BrightnessValue,
        _B.ExposureBiasValue,
        _B.MaxApertureValue,
        _B.SubjectDistance,
        _B.MeteringMode,
        _B.LightSource,
        _B.Flash,
        _B.FocalLength,
        _B.ColorSpace,
        _B.SensingMethod,
        _B.ExposureMode,
        _B.WhiteBalance,
        _B.DigitalZoomRatio,
        _B.FocalLengthIn35mmFilm,
        _B.SceneCaptureType,
        _B.GainControl,
        _B.Contrast,
        _B.Saturation,
        _B.Sharpness,
        _B.SubjectDistanceRange,
        _B.LensSpecification,
        _B.LensMake,
        _B.LensModel,
    }
)


def kept(
    image: Image.Image,
    channels: int,
    max_bytes: int,
    keep_gps: bool,
) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata of a loaded `image` whose pixels have `channels` channels, and notes
    about what was left out.
    """
    notes: list[str] = []
    icc = _icc(image, channels, max_bytes, notes)
    exif = _exif(image, keep_gps, notes)
    if exif and len(exif) > max_bytes:
        exif = None
        notes.append("the EXIF data are too large and were left out")
    dpi = _dpi(image.info.get("dpi"))
    return Metadata(icc, exif, dpi), tuple(notes)


def _icc(
    image: Image.Image,
    channels: int,
    max_bytes: int,
    notes: list[str],
) -> bytes | None:
    if image.mode in ("CMYK", "LAB"):  # converted to sRGB, and the profile with them
        return None
    try:
        return _usable_icc(image, channels, max_bytes)
    except Exception:  # a nonsensical profile is no reason to refuse a sound picture
        notes.append(
            "the colour profile does not fit the pixels, or is too large, and was left out"
        )
        return None


def _usable_icc(image: Image.Image, channels: int, max_bytes: int) -> bytes | None:
    """The photo's profile, embedded or made for the space that it declares; None for
    sRGB. Raises `ValueError` for a profile that cannot be used.
    """
    embedded = image.info.get("icc_profile")
    if embedded:
        # What lies behind its own length is no part of a profile.
        length = int.from_bytes(embedded[:4], "big")
        icc = bytes(embedded[:length])
        if len(icc) > max_bytes:
            raise ValueError("the profile is too large")
    else:
        declared = profiles.declared(image, channels)
        if declared is None:
            return None
        icc = declared
    if not colour.usable(icc, channels):
        raise ValueError("the profile does not fit the pixels")
    return icc


def _exif(image: Image.Image, keep_gps: bool, notes: list[str]) -> bytes | None:
    """TIFF-structured EXIF (as in PNG's eXIf) with the fields that stay, orientation 1."""
    try:
        source = image.getexif()
        made = Image.Exif()
        _copy(dict(source), made, MAIN_FIELDS)
        details: dict[int, Any] = {}
        _copy(source.get_ifd(_DETAILS), details, DETAIL_FIELDS)
        if details:
            made[_DETAILS] = details
        position = source.get_ifd(_POSITION)
        if position and keep_gps:
            made[_POSITION] = _sane_fields(position)
        elif position:
            notes.append("the GPS position was left out")
        if not len(made):
            return None
        made[_B.Orientation] = 1
        return made.tobytes().removeprefix(b"Exif\0\0")
    except Exception:  # a damaged EXIF block is no reason to refuse a sound picture
        notes.append("the EXIF data are damaged and were left out")
        return None


def _copy(source: dict[int, Any], target: Any, fields: frozenset[int]) -> None:
    for tag in sorted(fields & source.keys()):
        value = source[tag]
        if _is_sane(value):
            target[int(tag)] = value


def _sane_fields(fields: dict[int, Any]) -> dict[int, Any]:
    return {tag: value for tag, value in fields.items() if _is_sane(value)}


def _is_sane(value: Any) -> bool:
    if isinstance(value, str | bytes | tuple):
        return len(value) <= _MAX_VALUE_BYTES
    return True


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if _is_resolution(x) and _is_resolution(y) else None


def _is_resolution(dpi: float) -> bool:
    return math.isfinite(dpi) and 1 <= dpi <= _MAX_DPI
