"""What a photo keeps beside its pixels: its captions, a fixed list of EXIF fields,
resolution, colour profile. Nothing else.

A list of what stays, not of what goes: maker notes, serial numbers, owner names,
thumbnails of the unrestored picture and comments all fall away without being known by
name. The position stays only when a setting says so. Notes name what was left out.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from PIL import ExifTags, Image

from gpu_worker.codec import caption_sources, colour, profiles
from gpu_worker.codec.caption_sources import listed
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


class MetadataLimits(Protocol):
    """What may be kept; `decode.Limits` says it."""

    @property
    def max_metadata_bytes(self) -> int: ...

    @property
    def keep_gps(self) -> bool: ...

    @property
    def keep_profile_tags(self) -> bool: ...


_RESOLUTION = frozenset({_B.XResolution, _B.YResolution, _B.ResolutionUnit})
_INCH = 2
_LAYOUT = frozenset(
    {
        *range(254, 267),
        *range(273, 281),
        *range(284, 298),
        *range(317, 331),
        *range(338, 348),
        *range(512, 533),
        *_RESOLUTION,
        _B.TransferFunction,
        _B.ExifOffset,
        _B.GPSInfo,
        _B.InterColorProfile,
        _B.ExifImageWidth,
        _B.ExifImageHeight,
        _B.ComponentsConfiguration,
        _B.FlashPixVersion,
        _B.ExifInteroperabilityOffset,
    }
)
"""Fields that say how the file's own pixels lie, and where its other directories are."""
_ELSEWHERE = frozenset({270, 700, 33723, 34377, 52545})
"""The description, XMP, IPTC-IIM, Photoshop's resources and a C2PA manifest: other notes
are about them.
"""
_C2PA = b"c2pa" + bytes.fromhex("00110010800000aa00389b71")
"""The type of the box that holds a C2PA manifest, in a file of any format."""
C2PA_LEFT_OUT = "the C2PA manifest (Content Credentials) of the original was left out"
_NOT_TEXT = ("XML:com.adobe.xmp",)


def kept(
    image: Image.Image,
    channels: int,
    limits: MetadataLimits,
) -> tuple[Metadata, tuple[str, ...]]:
    """Metadata of a loaded `image` whose pixels have `channels` channels, and notes
    about what was left out.
    """
    notes: list[str] = []
    max_bytes = limits.max_metadata_bytes
    icc = _icc(image, channels, limits, notes)
    dpi = _dpi(image.info.get("dpi"))
    exif = _exif(image, limits.keep_gps, dpi, notes)
    if exif and len(exif) > max_bytes:
        exif = None
        notes.append("the EXIF data are too large and were left out")
    captions, caption_notes = caption_sources.read(image, limits.keep_gps)
    notes += caption_notes
    notes += _text_notes(image)
    meta = Metadata(icc, exif, dpi, captions=captions)
    return meta, tuple(dict.fromkeys(notes))


def manifest_notes(data: bytes) -> tuple[str, ...]:
    """A note about the signed statement of origin in a file, if there is one."""
    if _C2PA not in data:
        return ()
    return (C2PA_LEFT_OUT,)


def _text_notes(image: Image.Image) -> list[str]:
    """Notes about a format's own comments."""
    notes = []
    keywords = [each for each in getattr(image, "text", {}) if each not in _NOT_TEXT]
    if keywords:
        plain = [each if _is_word(each) else "others" for each in keywords]
        notes.append(f"these PNG texts were left out: {listed(dict.fromkeys(plain))}")
    if image.info.get("comment"):
        notes.append("the file's comment was left out")
    return notes


def _is_word(keyword: str) -> bool:
    return keyword.isascii() and keyword.isprintable()


def _icc(
    image: Image.Image,
    channels: int,
    limits: MetadataLimits,
    notes: list[str],
) -> bytes | None:
    if image.mode in ("CMYK", "LAB"):  # converted to sRGB, and the profile with them
        return None
    try:
        icc = _usable_icc(image, channels, limits.max_metadata_bytes)
        if icc is None or limits.keep_profile_tags:
            return icc
        return _without_private_tags(icc, notes)
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


def _without_private_tags(icc: bytes, notes: list[str]) -> bytes:
    made, left_out = profiles.without_private_tags(icc)
    if left_out:
        notes.append(f"private tags of the colour profile were left out: {left_out}")
    return made


def _exif(
    image: Image.Image,
    keep_gps: bool,
    dpi: tuple[float, float] | None,
    notes: list[str],
) -> bytes | None:
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
        notes += _left_out({**source.get_ifd(_DETAILS), **source}, {**details, **made})
        if not len(made):
            return None
        made[_B.Orientation] = 1
        if dpi:
            made[_B.XResolution], made[_B.YResolution] = dpi
            made[_B.ResolutionUnit] = _INCH
        return made.tobytes().removeprefix(b"Exif\0\0")
    except Exception:  # a damaged EXIF block is no reason to refuse a sound picture
        notes.append("the EXIF data are damaged and were left out")
        return None


def _left_out(source: dict[int, Any], made: dict[int, Any]) -> list[str]:
    """A note that names the fields that say something, and do not stay."""
    tags = source.keys() - made.keys() - _LAYOUT - _ELSEWHERE
    if not tags:
        return []
    names = [ExifTags.TAGS.get(tag, str(tag)) for tag in sorted(tags)]
    return [f"these EXIF fields were left out: {listed(names)}"]


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
