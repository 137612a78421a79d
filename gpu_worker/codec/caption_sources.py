"""The captions of a file: XMP, IPTC-IIM and EXIF, merged into one list of properties. It
runs in the decoder's process only.

What people write about a photo stays: the properties of Dublin Core, IPTC and rights.
What programs write about a file does not, as it is not true of the result: every note
says what was left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import ExifTags, Image, TiffImagePlugin

from gpu_worker.codec import captions, iim, xmp_reader
from gpu_worker.photo import Captions, Property

_PREFIXES = {uri: prefix for prefix, uri in captions.NAMESPACES.items()}
_OTHERS = {
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
    "http://purl.org/dc/terms/": "dcterms",
}
"""Usual namespaces of which nothing is kept, for the notes."""
_PHOTOSHOP = frozenset(
    {
        "AuthorsPosition",
        "CaptionWriter",
        "Category",
        "City",
        "Country",
        "Credit",
        "DateCreated",
        "Headline",
        "Instructions",
        "Source",
        "State",
        "SupplementalCategories",
        "TransmissionReference",
        "Urgency",
    }
)
_NOT_OF_THE_RESULT = frozenset(
    {
        "dc:format",
        "Iptc4xmpExt:DigitalSourceType",
        "Iptc4xmpExt:DigitalSourcefileType",
        "Iptc4xmpExt:AISystemUsed",
        "Iptc4xmpExt:AISystemVersionUsed",
        "Iptc4xmpExt:AIPromptInformation",
        "Iptc4xmpExt:AIPromptWriterName",
    }
)
_ANY_LANGUAGE = "x-default"
_EXIF: tuple[tuple[int, str, Literal["Seq", "Alt"]], ...] = (
    (ExifTags.Base.ImageDescription, "dc:description", "Alt"),
    (ExifTags.Base.Artist, "dc:creator", "Seq"),
    (ExifTags.Base.Copyright, "dc:rights", "Alt"),
)
_IPTC_RESOURCE = 0x0404
_IPTC_TAG = 33723
_EXTENSION = b"http://ns.adobe.com/xmp/extension/"
_GPS_NOTE = "the GPS position was left out"
_DAMAGED = "{} could not be read and was left out"
_MOST_NAMED = 12


def read(image: Image.Image, keep_gps: bool) -> tuple[Captions, tuple[str, ...]]:
    """The captions of a loaded image, and notes about what was left out of them.

    Where sources differ, XMP holds, then IPTC-IIM, then EXIF.
    """
    notes: list[str] = []
    naming = _Naming(keep_gps)
    sources = {
        "XMP": _of_xmp(image, naming, notes),
        "IPTC-IIM": _of_iim(image, notes),
        "EXIF": _of_exif(image),
    }
    notes += naming.notes()
    merged = _merged(sources, notes)
    return _within_limit(merged, notes), tuple(notes)


@dataclass
class _Naming:
    """Which XMP properties stay, and under which name; it remembers the others."""

    keep_gps: bool
    gps: bool = False
    left_out: dict[str, None] = field(default_factory=dict)

    def __call__(self, name: xmp_reader.Name) -> str:
        namespace, local = name
        prefix = _PREFIXES.get(namespace)
        if prefix is None:
            self.left_out[_OTHERS.get(namespace, "others")] = None
            return ""
        qualified = f"{prefix}:{local}"
        if prefix == "exif":
            return qualified if self._is_kept_position(local) else ""
        is_file = prefix == "photoshop" and local not in _PHOTOSHOP
        if is_file or qualified in _NOT_OF_THE_RESULT or not _is_plain(local):
            self.left_out[qualified if _is_plain(local) else prefix] = None
            return ""
        return qualified

    def _is_kept_position(self, local: str) -> bool:
        is_position = local.startswith("GPS") and _is_plain(local)
        if is_position and self.keep_gps:
            return True
        self.gps = self.gps or is_position
        if not is_position:
            self.left_out["exif"] = None
        return False

    def notes(self) -> Iterator[str]:
        if self.gps:
            yield _GPS_NOTE
        if self.left_out:
            yield f"of the XMP data these were left out: {listed(self.left_out)}"


def listed(names: Iterable[str]) -> str:
    """The names, or as many as a note may have."""
    every = list(names)
    text = ", ".join(every[:_MOST_NAMED])
    more = len(every) - _MOST_NAMED
    return f"{text} and {more} more" if more > 0 else text


def _is_plain(local: str) -> bool:
    return local.isascii() and local.isidentifier() and len(local) <= 64


def _of_xmp(image: Image.Image, naming: _Naming, notes: list[str]) -> list[Property]:
    segments = getattr(image, "applist", [])
    if any(body.startswith(_EXTENSION) for _, body in segments):
        notes.append("further XMP data, beyond a JPEG's first segment, were left out")
    packet = image.info.get("xmp")
    if not packet:
        return []
    try:
        data = packet.encode() if isinstance(packet, str) else bytes(packet)
        return xmp_reader.read(data, naming)
    except Exception:  # damaged XMP is no reason to refuse a sound picture
        notes.append(_DAMAGED.format("the XMP data"))
        return []


def _of_iim(image: Image.Image, notes: list[str]) -> list[Property]:
    try:
        block = _iim_block(image)
        if not block:
            return []
        found, unknown = iim.read(block)
    except Exception:  # nor are these
        notes.append(_DAMAGED.format("the IPTC-IIM block"))
        return []
    if unknown:
        names = listed(f"2:{number}" for number in unknown)
        notes.append(f"of the IPTC-IIM data these were left out: {names}")
    return found


def _iim_block(image: Image.Image) -> bytes:
    """The datasets, which a JPEG keeps among Photoshop's resources and a TIFF in a tag
    of its own or there, too.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tag: Any = image.tag_v2.get(_IPTC_TAG)
        if tag:
            return _bytes_of(tag, image.tag_v2.prefix)
        blocks = image.get_photoshop_blocks()
        return blocks.get(_IPTC_RESOURCE, {}).get("data", b"")
    resources = image.info.get("photoshop")
    return bytes(resources.get(_IPTC_RESOURCE, b"")) if resources else b""


def _bytes_of(tag: Any, prefix: bytes) -> bytes:
    """Some writers give the block's type as numbers of four bytes."""
    if isinstance(tag, bytes):
        return tag
    numbers = tag if isinstance(tag, tuple) else (tag,)
    order: Any = "little" if prefix == b"II" else "big"
    return b"".join(int(number).to_bytes(4, order) for number in numbers)


def _of_exif(image: Image.Image) -> list[Property]:
    try:
        source = image.getexif()
        texts = [(name, kind, source.get(tag)) for tag, name, kind in _EXIF]
    except Exception:  # the notes of `metadata` say so
        return []
    found = []
    for name, kind, value in texts:
        text = _exif_text(value)
        if text:
            language = _ANY_LANGUAGE if kind == "Alt" else ""
            item = Property(text=text, lang=language)
            found.append(Property(name=name, kind=kind, items=(item,)))
    return found


def _exif_text(value: Any) -> str:
    """EXIF's text is ASCII by the letter, and UTF-8 or Latin in practice."""
    if isinstance(value, str):
        # As the library decodes it.
        value = value.encode("latin-1", "replace")
    return xmp_reader.text_of(value) if isinstance(value, bytes) else ""


def _merged(
    sources: dict[str, list[Property]], notes: list[str]
) -> dict[str, Property]:
    merged: dict[str, Property] = {}
    for source, properties in sources.items():
        others = []
        for each in properties:
            earlier = merged.setdefault(each.name, each)
            if each.kind == earlier.kind == "Bag":
                merged[each.name] = _united(earlier, each)
            elif not _says_no_more(each, earlier):
                others.append(each.name)
        if others:
            notes.append(
                f"the {source} data say otherwise of {listed(others)}, and were left out there"
            )
    return merged


def _united(earlier: Property, later: Property) -> Property:
    """An unordered array with the items of both."""
    items = dict.fromkeys((*earlier.items, *later.items))
    return earlier.model_copy(update={"items": tuple(items)})


def _says_no_more(later: Property, earlier: Property) -> bool:
    """Whether all texts of a property are in another, or begin one of its texts: older
    fields cut long texts off.
    """
    known = list(_texts(earlier))
    return all(any(text.startswith(each) for text in known) for each in _texts(later))


def _texts(each: Property) -> Iterator[str]:
    if each.kind == "text":
        yield each.text
    for item in each.items:
        yield from _texts(item)


def _within_limit(merged: dict[str, Property], notes: list[str]) -> Captions:
    kept, left_out = [], []
    room = captions.MOST_BYTES
    for each in sorted(merged.values(), key=captions.size):
        room -= captions.size(each)
        if room >= 0:
            kept.append(each)
        else:
            left_out.append(each.name)
    if left_out:
        notes.append(f"too long, and left out: {listed(left_out)}")
    order = list(merged)
    return tuple(sorted(kept, key=lambda each: order.index(each.name)))
