"""`python -m handlers.reports.pdf_child`: one sheet on stdin, its PDF/A on stdout.

The process has no settings and no secrets. Once it has its fonts and its sheet it gives
up the network, files, programs and most of its memory and time: what Typst, or Pillow,
does with the words and pictures of strangers it does then.
"""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from handlers.reports import charts as svg
from shared.runtime import confinement
from shared.runtime.seccomp import can_refuse_calls, refuse_calls

if TYPE_CHECKING:
    import typst

TEMPLATE = Path(__file__).with_name("sheet.typ")
STANDARDS: list[typst.PDFStandard] = ["a-2a", "ua-1"]
"""Archives' PDF with readable structure, which contains PDF/A-2b, and PDF/UA-1. The
compiler refuses what breaks either.
"""
MEMORY_BYTES = 1 << 30
CPU_S = 60.0
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")
SHOWN_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Greys of 16 bits are not among them: Pillow would show them white."""
PICTURE_PX = 1000
"""The longer side of a picture in the report."""
QUALITY = 85
MISSING = "□"
"""Stands for a letter that the font lacks: an archive's PDF may not show a gap."""
UNASSIGNED = "\U0010ffff"
RUN = 20
"""Letters after which a long word may break."""
BREAK = "\u200b"
LONG_WORD = re.compile(rf"\S{{{RUN + 1},}}")
IDENT = re.compile(r"[0-9a-f-]{32,64}")
SAMPLE: dict[str, Any] = {
    "language": "zh",
    "kicker": "照片 a",
    "title": "照片 □",
    "ident": "0",
    "subtitle": "",
    "status": "",
    "tone": "good",
    "made": "",
    "foot": "",
    "columns": 1,
    "picture_height": 10,
    "facts": [],
    "pictures": [{"name": "JPEG", "caption": "a", "detail": "", "missing": ""}],
    "tables": [
        {
            "title": "照片",
            "head": ["a"],
            "rows": [["a"]],
            "kind": "wide",
            "says": "a",
            "chart": "sample",
            "chart_says": "a",
            "key": [],
            "named": [],
        }
    ],
    "notes_title": "",
    "notes": [],
    "signature": "0",
    "signature_title": "照片",
    "signature_says": "",
    "url": "",
    "keywords": [],
}
"""A sheet that has the compiler read every font, before files are out of reach."""
SAMPLE_CHARTS = {"sample": svg.standalone(svg.bars("a", "a", [svg.Bar("a", 1, "a")]))}


def main(source: BinaryIO, target: BinaryIO) -> int:
    """Read one request, make its PDF, write it."""
    confinement.die_with_parent()
    # A network is left by one thread for itself: before the compiler has others.
    confinement.leave_network()
    confinement.give_up_privileges()
    compiler = _compiler()
    request = json.loads(source.readline())
    pictures = {name: source.read(count) for name, count in request["pictures"]}
    confinement.limit(CPU_S, MEMORY_BYTES)
    if can_refuse_calls():
        refuse_calls()
    sheet = _shown(request["sheet"])
    # A name may have no letter that can be shown; a document must have a title.
    sheet["title"] = sheet["title"].strip() or MISSING
    made = {name: _jpeg(data) for name, data in pictures.items()}
    at = request["made_at"]
    charts = request["charts"]
    target.write(_compiled(compiler, sheet, made, charts, request["qr"], at))
    return 0


def _compiler() -> typst.Compiler:
    """Typst with the template and both fonts in memory. Making a sample reads fonts and
    decoders, and starts the compiler's threads.
    """
    import pylopdf_fonts_zh_cn
    import typst

    folder = pylopdf_fonts_zh_cn.sans_path().parent
    fonts = typst.Fonts(include_system_fonts=False, font_paths=[str(folder)])
    compiler = typst.Compiler(font_paths=fonts)
    pictures = {kind: _jpeg(_sample_picture(kind)) for kind in PICTURE_FORMATS}
    _compiled(compiler, _shown(SAMPLE), pictures, SAMPLE_CHARTS)
    return compiler


def _compiled(
    compiler: typst.Compiler,
    sheet: dict[str, Any],
    pictures: dict[str, bytes | None],
    charts: dict[str, str],
    qr: str = "",
    at: int = 0,
) -> bytes:
    shown = {name: list(data) for name, data in pictures.items() if data}
    made = compiler.compile(
        _template(),
        format="pdf",
        pdf_standards=STANDARDS,
        timestamp=at,
        sys_inputs={
            "sheet": json.dumps(sheet),
            "pictures": json.dumps(shown),
            "charts": json.dumps(charts),
            "qr": qr,
        },
    )
    assert isinstance(made, bytes)
    return made


@cache
def _template() -> bytes:
    return TEMPLATE.read_bytes()


def _sample_picture(kind: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    return file.getvalue()


def _jpeg(data: bytes) -> bytes | None:
    """A picture, small and upright; None where it cannot be read: a report without it is
    better than none.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=PICTURE_FORMATS) as image:
            if image.mode not in SHOWN_MODES:
                return None
            image.draft("RGB", (PICTURE_PX, PICTURE_PX))
            image.thumbnail((PICTURE_PX, PICTURE_PX))
            upright = ImageOps.exif_transpose(image).convert("RGB")
        file = io.BytesIO()
        upright.save(file, "JPEG", quality=QUALITY)
        return file.getvalue()
    except Exception:
        # Whatever a decoder stumbles over, memory included, costs its picture alone.
        return None


def _shown(value: Any) -> Any:
    """The sheet with texts that the fonts can show."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    return value


def _text(text: str) -> str:
    """A text without what turns it around or hides in it, each letter that the fonts
    lack as a box, and long words with places to break.
    """
    composed = unicodedata.normalize("NFC", text)
    shown = "".join(map(_letter, composed))
    return LONG_WORD.sub(_breakable, shown)


def _breakable(word: re.Match[str]) -> str:
    """A long word with places to break; an id or a checksum stays whole, to be copied."""
    text = word[0]
    if IDENT.fullmatch(text):
        return text
    return BREAK.join(text[start : start + RUN] for start in range(0, len(text), RUN))


@cache
def _letter(letter: str) -> str:
    """What is shown of one letter: itself, a blank, a box, or nothing."""
    category = unicodedata.category(letter)
    if letter.isspace() or category in ("Zl", "Zp"):
        return " "
    is_selector = "\ufe00" <= letter <= "\ufe0f"
    if category in ("Cc", "Cf", "Cs") or is_selector:
        return ""
    return letter if _has_glyph(letter) else MISSING


def _has_glyph(letter: str) -> bool:
    # A font draws every letter that it lacks as the same box.
    return all(
        bytes(font.getmask(letter)) != bytes(font.getmask(UNASSIGNED))
        for font in _fonts()
    )


@cache
def _fonts() -> list[Any]:
    import pylopdf_fonts_zh_cn
    from PIL import ImageFont

    paths = (pylopdf_fonts_zh_cn.sans_path(), pylopdf_fonts_zh_cn.serif_path())
    return [ImageFont.truetype(io.BytesIO(path.read_bytes()), 24) for path in paths]


if __name__ == "__main__":
    sys.exit(main(sys.stdin.buffer, sys.stdout.buffer))
