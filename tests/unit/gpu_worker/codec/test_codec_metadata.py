"""What a photo keeps beside its pixels, and what it must not."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from gpu_worker.codec import (
    Limits,
    decode,
    metadata,
    preview,
    profiles,
    texts,
    write_png,
)
from gpu_worker.photo import Metadata, Photo
from shared.runtime.settings import Settings
from tests.support.codec_samples import (
    LIMITS,
    noise,
    png,
    quarters,
    read_png,
    saved,
    tiff,
    workflow,
)

_B = ExifTags.Base
MARKER = "PLANTED"
P3 = ((0.3127, 0.3290), (0.680, 0.320, 0.265, 0.690, 0.150, 0.060))


def _exif(position: bool = True) -> Image.Exif:
    exif = Image.Exif()
    exif[_B.Make], exif[_B.Model] = "Leica", "M6"
    exif[_B.Artist], exif[_B.Copyright] = "V. Maier", "estate"
    exif[_B.DateTime] = "2001:02:03 04:05:06"
    exif[_B.ImageDescription] = f"{MARKER} description"
    exif[_B.XPComment] = f"{MARKER} comment".encode("utf-16-le")
    exif[_B.HostComputer] = f"{MARKER} host"
    exif[ExifTags.IFD.Exif] = {
        _B.DateTimeOriginal: "1999:12:31 23:59:59",
        _B.ISOSpeedRatings: 400,
        _B.FocalLength: 50.0,
        _B.ExposureTime: 0.008,
        _B.LensModel: "Summicron",
        _B.BodySerialNumber: f"{MARKER} body",
        _B.LensSerialNumber: f"{MARKER} lens",
        _B.CameraOwnerName: f"{MARKER} owner",
        _B.ImageUniqueID: f"{MARKER} id",
        _B.UserComment: f"{MARKER} user".encode(),
        _B.MakerNote: f"{MARKER} maker".encode(),
        _B.ExifImageWidth: 24,
    }
    if position:
        exif[ExifTags.IFD.GPSInfo] = {
            1: "N",
            2: (48.0, 51.0, 30.0),
            3: "E",
            4: (2.0, 17.0, 40.0),
            29: f"{MARKER}",
        }
    return exif


XMP = f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{MARKER} xmp</x:xmpmeta>".encode()


def _planted(kind: str) -> bytes:
    """A file with markers in every place that its format has, and a zip behind the
    picture.
    """
    options: dict[str, Any] = {"exif": _exif()}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_text("Comment", f"{MARKER} text")
        info.add_itxt("Note", f"{MARKER} itxt", zip=True)
        info.add_text("XML:com.adobe.xmp", XMP.decode())
        info.add(b"prVt", f"{MARKER} private".encode())
        options["pnginfo"] = info
    elif kind == "JPEG":
        options |= {"comment": f"{MARKER} comment", "xmp": XMP}
    elif kind == "WEBP":
        options |= {"xmp": XMP, "lossless": True}
    else:
        # Pillow writes the inner directories of a TIFF only from bytes it has read
        tags = Image.Exif()
        tags.load(_exif().tobytes())
        for tag, name in ((700, "xmp"), (33723, "iptc"), (34377, "photoshop")):
            tags[tag] = f"{MARKER} {name}".encode()
        options["exif"] = tags
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(f"{MARKER}.txt", f"{MARKER} zip")
    return saved(Image.fromarray(quarters()), kind, **options) + archive.getvalue()


def _written(photo: Photo, **text: str) -> bytes:
    file = io.BytesIO()
    write_png(photo, file, text, 1)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_nothing_planted_comes_through(kind: str) -> None:
    """Position, serial numbers, owner, notes, comments, XMP that says nothing, foreign
    chunks and trailing files do not survive.
    """
    data = _planted(kind)
    assert data.count(MARKER.encode()) >= 10
    photo = decode(data, LIMITS)
    small = preview(photo, Settings(), texts("t", workflow("upscale")))
    result = _written(photo)
    for output in (result, small):
        assert MARKER.encode() not in output
        assert MARKER.encode("utf-16-le") not in output
        assert b"PK\x03\x04" not in output
    position = Image.open(io.BytesIO(result)).getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert position == {}
    assert any("GPS" in note for note in photo.notes)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_what_the_camera_said_is_carried_over(kind: str) -> None:
    """Camera, lens, exposure, dates and rights are in the result's EXIF; its
    orientation says upright.
    """
    exif = _exif()
    exif[_B.Orientation] = 6
    result = _written(decode(saved(quarters(), kind, exif=exif), LIMITS))
    kept = Image.open(io.BytesIO(result)).getexif()
    details = kept.get_ifd(ExifTags.IFD.Exif)
    assert kept[_B.Orientation] == 1
    assert (kept[_B.Make], kept[_B.Model], kept[_B.Artist]) == (
        "Leica",
        "M6",
        "V. Maier",
    )
    assert details[_B.DateTimeOriginal] == "1999:12:31 23:59:59"
    assert (details[_B.ISOSpeedRatings], float(details[_B.FocalLength])) == (400, 50.0)
    assert _B.ExifImageWidth not in details  # the result has another size


def test_position_stays_when_asked_for() -> None:
    """With `keep_gps` the position is in the result."""
    photo = decode(saved(quarters(), "JPEG", exif=_exif()), Limits(keep_gps=True))
    position = (
        Image.open(io.BytesIO(_written(photo))).getexif().get_ifd(ExifTags.IFD.GPSInfo)
    )
    assert position[1] == "N"
    assert [float(part) for part in position[2]] == [48.0, 51.0, 30.0]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_resolution_is_carried_over(kind: str) -> None:
    """Dots per inch survive, to what PNG's whole dots per metre allow."""
    photo = decode(saved(quarters(), kind, dpi=(600, 300)), LIMITS)
    x, y = Image.open(io.BytesIO(_written(photo))).info["dpi"]
    assert (x, y) == pytest.approx((600, 300), abs=0.05)


@pytest.mark.parametrize(
    "dpi", [(0, 0), (float("inf"), 300), (-1, 300), (1e9, 1e9), None, "300"]
)
def test_nonsensical_resolution_is_none(dpi: Any) -> None:
    """What is no resolution is left out rather than written."""
    image = Image.fromarray(quarters())
    opened = Image.open(io.BytesIO(saved(image, "PNG")))
    opened.load()
    opened.info["dpi"] = dpi
    assert metadata.kept(opened, 3, LIMITS)[0].dpi is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_colour_space_is_kept_not_converted(kind: str) -> None:
    """A Display P3 photo keeps its numbers and its profile."""
    icc = profiles.matrix_profile("Display P3", *P3, 2.2)
    lossless = {"WEBP": {"lossless": True}}.get(kind, {})
    photo = decode(saved(quarters(), kind, icc_profile=icc, **lossless), LIMITS)
    assert photo.meta.icc == icc
    assert Image.open(io.BytesIO(_written(photo))).info["icc_profile"] == icc
    if kind in ("PNG", "WEBP", "TIFF"):
        assert (photo.pixels == quarters()).all()


def test_grey_profile_stays_with_grey() -> None:
    """A grey photo keeps its grey profile; the same photo turned to colour loses it, as
    PNG demands.
    """
    icc = profiles.grey_profile("Dot gain", 1.8)
    photo = decode(saved(quarters()[..., 0], "PNG", icc_profile=icc), LIMITS)
    assert Image.open(io.BytesIO(_written(photo))).info["icc_profile"] == icc
    coloured = photo.with_(pixels=quarters())
    assert "icc_profile" not in Image.open(io.BytesIO(_written(coloured))).info


@pytest.mark.parametrize(
    "icc", [b"", b"garbage", bytes(200), profiles.grey_profile("grey", 2.2)]
)
def test_profile_that_does_not_fit_is_left_out_with_a_note(icc: bytes) -> None:
    """A damaged profile, or one for other channels, does not stop a photo."""
    photo = decode(saved(quarters(), "JPEG", icc_profile=icc), LIMITS)
    assert photo.meta.icc is None
    assert any("profile" in note for note in photo.notes) == bool(icc)


def test_adobe_rgb_without_a_profile() -> None:
    """A camera that says Adobe RGB in EXIF only (`R03`) gets a profile, or the result
    would look dull.
    """
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {40961: 65535, int(ExifTags.IFD.Interop): {1: "R03"}}
    photo = decode(saved(quarters(), "JPEG", exif=exif), LIMITS)
    assert photo.meta.icc is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(photo.meta.icc))
    assert "Adobe RGB" in ImageCms.getProfileDescription(profile)


def test_built_profiles_mean_what_they_say() -> None:
    """A profile built for sRGB's primaries moves colours as little as the difference of
    the two curves.
    """
    icc = profiles.matrix_profile(
        "test", (0.3127, 0.3290), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06), 2.2
    )
    # below, 2.2 and sRGB's curve part
    image = Image.fromarray(noise((32, 32, 3), seed=3) | 64)
    target = ImageCms.createProfile("sRGB")
    moved = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), target
    )
    assert moved is not None
    assert np.abs(np.asarray(moved).astype(int) - np.asarray(image)).max() <= 3


@pytest.mark.parametrize(("gamma", "described"), [(100_000, True), (45_455, False)])
@pytest.mark.parametrize("samples", [1, 3])
def test_gamma_of_a_png_becomes_a_profile(
    gamma: int, described: bool, samples: int
) -> None:
    """A PNG that declares an unusual gamma keeps it as a profile; the usual one needs
    none.
    """
    photo = decode(
        png(noise((4, 4, samples)), (b"gAMA", gamma.to_bytes(4, "big"))), LIMITS
    )
    assert (photo.meta.icc is not None) == described


def test_private_tags_of_a_profile_can_be_left_out() -> None:
    """A display's serial number goes, with a note; what the colours mean stays. By
    default the profile is kept to the byte.
    """
    plain = profiles.matrix_profile("Display P3", *P3, 2.2)
    tags = plain[132:]
    (count,) = struct.unpack_from(">I", plain, 128)
    shifted = b"".join(
        tags[at : at + 4] + struct.pack(">I", start + 12) + tags[at + 8 : at + 12]
        for at in range(0, count * 12, 12)
        for (start,) in [struct.unpack_from(">I", tags, at + 4)]
    )
    private = b"mmod" + struct.pack(">II", len(plain) + 12, 16)
    icc = plain[:128] + struct.pack(">I", count + 1) + private + shifted
    icc += tags[count * 12 :] + b"mmod\0\0\0\0PLANTED!"
    icc = struct.pack(">I", len(icc)) + icc[4:]
    data = saved(quarters(), "PNG", icc_profile=icc)
    assert decode(data, LIMITS).meta.icc == icc
    photo = decode(data, Limits(keep_profile_tags=False))
    assert photo.meta.icc is not None
    assert b"PLANTED" not in photo.meta.icc
    assert any("mmod" in note for note in photo.notes)
    kept = [
        ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(each)))
        for each in (photo.meta.icc, plain)
    ]
    assert kept[0] == kept[1]


def test_metadata_are_bounded() -> None:
    """Profiles beyond the limit are left out with a note; the photo is restored."""
    icc = profiles.matrix_profile("Display P3", *P3, 2.2)
    photo = decode(
        saved(quarters(), "PNG", icc_profile=icc, exif=_exif()),
        Limits(max_metadata_bytes=100),
    )
    assert photo.meta.icc is None
    assert photo.meta.exif is None
    left_out = [note for note in photo.notes if "too large" in note]
    assert len(left_out) == 2


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "exif",
    [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"],
)
def test_damaged_exif_does_not_stop_a_photo(exif: bytes) -> None:
    """EXIF that cannot be read is left out."""
    photo = decode(saved(quarters(), "JPEG", exif=exif), LIMITS)
    assert photo.meta.exif is None


def test_tiff_tags_are_filtered_alike() -> None:
    """A TIFF's own tags go through the same list as EXIF."""
    data = tiff(
        quarters(),
        photometric="rgb",
        description=MARKER,
        software=MARKER,
        metadata=None,
        extratags=[(271, 2, 0, "Leica", True), (315, 2, 0, "V. Maier", True)],
    )
    result = _written(decode(data, LIMITS))
    assert MARKER.encode() not in result
    assert Image.open(io.BytesIO(result)).getexif()[_B.Make] == "Leica"


def test_chunks_are_in_the_order_png_wants() -> None:
    """Profile, resolution, EXIF and text come before the pixels, each once."""
    meta = Metadata(
        profiles.matrix_profile("P3", *P3, 2.2), _exif().tobytes()[6:], (300.0, 300.0)
    )
    _, chunks = read_png(_written(Photo(quarters(), meta=meta), Task="t"))
    assert [kind for kind, _ in chunks] == [
        b"IHDR",
        b"iCCP",
        b"pHYs",
        b"eXIf",
        b"tEXt",
        b"IDAT",
        b"IEND",
    ]
