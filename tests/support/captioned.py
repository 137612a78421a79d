"""Photos with captions, as scanners, agencies and archives write them, and an
independent reader of what came of them.
"""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from tests.support.codec_samples import quarters, saved

CAPTION = "Großmutter am Hafen, 1936 — 祖母 <&>"
XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:core="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
 xmlns:ext="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/">
<rdf:Description rdf:about="" photoshop:City="Danzig" xmpMM:DocumentID="PLANTED">
 <dc:description><rdf:Alt>
  <rdf:li xml:lang="x-default">{CAPTION.replace("&", "&amp;").replace("<", "&lt;")}</rdf:li>
  <rdf:li xml:lang="en">Grandmother at the harbour</rdf:li></rdf:Alt></dc:description>
 <dc:subject><rdf:Bag><rdf:li>harbour</rdf:li><rdf:li>family</rdf:li></rdf:Bag></dc:subject>
 <dc:format>image/tiff</dc:format>
 <core:CreatorContactInfo rdf:parseType="Resource">
  <core:CiEmailWork>archive@example.org</core:CiEmailWork></core:CreatorContactInfo>
 <ext:PersonInImage><rdf:Bag><rdf:li>Anna Kowalska</rdf:li></rdf:Bag></ext:PersonInImage>
 <ext:LocationShown><rdf:Bag><rdf:li rdf:parseType="Resource">
  <ext:City>Gdańsk</ext:City><exif:GPSLatitude>54,21N</exif:GPSLatitude>
 </rdf:li></rdf:Bag></ext:LocationShown>
 <ext:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/print</ext:DigitalSourceType>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def iim(*datasets: tuple[int, str]) -> bytes:
    """A block of IPTC-IIM in UTF-8: numbers of record 2, with their texts."""
    block = b"\x1c\x01\x5a\x00\x03\x1b%G"
    for number, text in datasets:
        value = text.encode()
        block += struct.pack(">BBBH", 0x1C, 2, number, len(value)) + value
    return block


IIM = iim(
    (120, CAPTION[:20]),
    (25, "family"),
    (25, "Hansa"),
    (90, "Elbing"),
    (80, "V. Maier"),
    (55, "19360000"),
    (118, "a contact"),
)


def captioned(kind: str) -> bytes:
    """A picture in a format that holds XMP, IPTC-IIM where that format has a place for
    it, and a description in EXIF; 300 dots per inch.
    """
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "SCAN 0001"
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 300.0
    exif[ExifTags.Base.ResolutionUnit] = 2
    exif[ExifTags.Base.Artist] = "V. Maier"
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700], tags[33723] = XMP, IIM
        tags.tagtype[700] = tags.tagtype[33723] = 7
        tags[270], tags[315] = "SCAN 0001", "V. Maier"
        return saved(quarters(), "TIFF", tiffinfo=tags, dpi=(300, 300))
    place: dict[str, Any] = {"xmp": XMP}
    if kind == "PNG":
        place["pnginfo"] = PngImagePlugin.PngInfo()
        place["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode())
    data = saved(quarters(), kind, exif=exif, dpi=(300, 300), **place)
    if kind == "JPEG":
        resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IIM)) + IIM
        body = b"Photoshop 3.0\0" + resource + b"\0" * (len(resource) % 2)
        head = b"\xff\xed" + struct.pack(">H", len(body) + 2)
        data = data[:2] + head + body + data[2:]
    return data


def words_of(file: Path) -> dict[str, Any]:
    """What exiftool reads in a file, by group and name."""
    command = ["exiftool", "-json", "-G1", "-struct", "-charset", "utf8", str(file)]
    found = subprocess.run(command, check=True, capture_output=True)
    (words,) = json.loads(found.stdout)
    return dict(words)
