"""Is an upload fit to restore? One bounded pass over its bytes: hash, magic bytes,
header, end; no pixel is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from handlers.intake import headers
from handlers.intake.headers import Broken, EndOfData, Forward, Header
from shared.errors import Code, PermanentError
from shared.runtime.settings import PhotoLimitSettings
from shared.uploads.photo_files import FORMATS

ACCEPTED = " and ".join([", ".join(FORMATS[:-1]), FORMATS[-1]])


@dataclass(frozen=True)
class Probed:
    """An upload that is fit to restore, by its header."""

    sha256: str
    bytes: int
    header: Header


def probe(
    chunks: Iterator[bytes],
    settings: PhotoLimitSettings,
    scale: float,
    stored_bytes: int = 0,
    page: int = 1,
) -> Probed:
    """Read the body to its end. `scale`: output side over input side, for the limit of
    the output. `stored_bytes`: the size by the store, which spares reading what
    is too large. `page`: which page of a TIFF is to be restored.

    Raises `PermanentError` with `empty_file`, `too_large`, `unsupported_format`,
    `truncated`, `too_many_pixels`, `animated` or `page_out_of_range`. What is refused
    early is not read to its end.
    """
    stream = Forward(chunks, settings.max_upload_bytes)
    stream.check_size(stored_bytes)
    head = stream.peek(headers.HEAD_BYTES)
    if not head:
        raise PermanentError(
            Code.EMPTY_FILE, "the file is empty (0 bytes); upload it again"
        )
    parser = headers.parser_for(head)
    if parser is None:
        detail = f"this is {headers.describe(head)}; photos are accepted as {ACCEPTED}"
        raise PermanentError(Code.UNSUPPORTED_FORMAT, detail)
    found: list[Header] = []

    def check(header: Header) -> None:
        found.append(header)
        if len(found) == page:
            _check_size(header, settings, scale)

    _walk(parser, stream, check)
    if page > len(found):
        raise _no_such_page(page, found)
    return Probed(stream.sha256, stream.bytes, found[page - 1])


def _no_such_page(page: int, found: list[Header]) -> PermanentError:
    detail = f"page {page} was asked for, and this {found[0].format} has {len(found)}"
    if found[0].format == "TIFF":
        detail += " in their order; ask for one of them, or save the pages again"
    else:
        detail += "; only a TIFF has more: leave `page` out"
    return PermanentError(Code.PAGE_OUT_OF_RANGE, detail)


def _walk(parser: headers.Parser, stream: Forward, check: headers.Found) -> None:
    name = parser.__name__.upper()
    try:
        pictures = parser(stream, check)
    except EndOfData:
        pictures = 0
    except Broken as error:
        detail = f"the file begins like {name}, but {error}; it is damaged or not what it claims"
        raise PermanentError(Code.UNSUPPORTED_FORMAT, detail) from error
    if pictures == 0:
        detail = f"the {name} file ends before its picture does ({stream.bytes:,} bytes came); upload it again"
        raise PermanentError(Code.TRUNCATED, detail)
    if pictures > 1:
        detail = f"this {name} is an animation; only still photos are restored, upload one frame of it"
        raise PermanentError(Code.ANIMATED, detail)


def _check_size(header: Header, settings: PhotoLimitSettings, scale: float) -> None:
    width, height = header.width, header.height
    if not width or not height:
        detail = f"the {header.format} file claims a size of {width} x {height} pixels; it is damaged"
        raise PermanentError(Code.UNSUPPORTED_FORMAT, detail)
    check_pixels(width, height, settings, scale)


def check_pixels(
    width: int, height: int, settings: PhotoLimitSettings, scale: float
) -> None:
    """Raise `PermanentError(too_many_pixels)` for a photo whose sides, or those of its
    result, are too large.
    """
    claim = f"{width} x {height} = {width * height:,} pixels"
    if width * height > settings.max_pixels:
        detail = (
            f"{claim} are more than the {settings.max_pixels:,} that DARKROOM_MAX_PIXELS,"
            " or DARKROOM_PHOTO_LIMITS, allows; scale it down"
        )
        raise PermanentError(Code.TOO_MANY_PIXELS, detail)
    output = round(width * scale) * round(height * scale)
    if output > settings.max_output_pixels:
        detail = (
            f"{claim} at scale {scale:g} would become {output:,}, more than the {settings.max_output_pixels:,}"
            " that DARKROOM_MAX_OUTPUT_PIXELS allows; ask for a smaller scale or scale the photo down"
        )
        raise PermanentError(Code.TOO_MANY_PIXELS, detail)
