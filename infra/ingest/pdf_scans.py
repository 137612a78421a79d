"""The pictures of scanned PDF files, as items of their source. They are taken out as they
lie in the file: a JPEG stays the same to the byte, and nothing is drawn anew.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from pypdf import PageObject, PdfReader

from infra.ingest.members import ItemFault, Member, Refused
from infra.ingest.photo import MEMORY_BYTES
from infra.ingest.sources import Source
from shared.errors import Code

SUFFIX = ".pdf"
LEAST_PX = 100
"""Smaller pictures are ornaments and stamps."""
AS_IT_IS = {"/DCTDecode": ".jpg", "/JPXDecode": ".jp2"}
"""Filters whose data are a file of their own."""
PLAIN = (
    *("/FlateDecode", "/LZWDecode", "/RunLengthDecode"),
    *("/ASCIIHexDecode", "/ASCII85Decode"),
)


class WithPdfs:
    """A source with the pictures of each PDF file behind it, named after it and their
    page: `album.pdf/0001.jpg`.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source

    def members(self) -> Iterator[Member | Refused]:
        for member in self._source.members():
            yield member
            is_pdf = PurePosixPath(member.path).suffix.lower() == SUFFIX
            if is_pdf and isinstance(member, Member):
                yield from _pictures_or_fault(member)


def _pictures_or_fault(pdf: Member) -> Iterator[Member | Refused]:
    # Reading it needs a file that can be searched, which an archive's member is not.
    with SpooledTemporaryFile(MEMORY_BYTES) as spooled:
        body = cast("IO[bytes]", spooled)
        try:
            with pdf.opened() as file:
                shutil.copyfileobj(file, body)
            reader = PdfReader(body)
            if reader.is_encrypted:
                detail = f"{pdf.path!r} is encrypted; save it without a password"
                yield Refused(pdf.path, ItemFault(Code.ENCRYPTED, detail))
                return
            yield from _pictures(pdf, reader)
        except Exception as error:  # whatever a damaged file makes of its reader
            detail = f"{pdf.path!r} cannot be read: {error}; save it again"
            yield Refused(pdf.path, ItemFault(Code.SOURCE_UNREADABLE, detail))


def _pictures(pdf: Member, reader: PdfReader) -> Iterator[Member | Refused]:
    seen: set[int] = set()
    for number, page in enumerate(reader.pages, 1):
        found = [each for each in _of_page(page) if _is_new(each[1], seen)]
        for position, (key, picture) in enumerate(found, 1):
            name = f"{number:04d}" if position == 1 else f"{number:04d}-{position}"
            yield _member(pdf, page, key, picture, name)


def _of_page(page: PageObject) -> Iterator[tuple[str, Any]]:
    """The names and objects of a page's pictures that may be photographs."""
    resources = page.get("/Resources", {}).get_object()
    for key, reference in resources.get("/XObject", {}).get_object().items():
        found = reference.get_object()
        is_picture = found.get("/Subtype") == "/Image" and not found.get("/ImageMask")
        sides = (found.get("/Width", 0), found.get("/Height", 0))
        if is_picture and min(sides) >= LEAST_PX:
            yield key, found


def _is_new(picture: Any, seen: set[int]) -> bool:
    """Whether a picture was not on a page before, as a letterhead is on every one."""
    reference = picture.indirect_reference
    number = id(picture) if reference is None else reference.idnum
    if number in seen:
        return False
    seen.add(number)
    return True


def _member(
    pdf: Member, page: PageObject, key: str, picture: Any, name: str
) -> Member | Refused:
    filters = picture.get("/Filter")
    last = filters[-1] if isinstance(filters, list) and filters else filters
    mark = f"{pdf.mark}:{name}"
    if last in AS_IT_IS:
        path = f"{pdf.path}/{name}{AS_IT_IS[last]}"
        data = picture.get_data()
        opened = partial(io.BytesIO, data)
        return Member(path, len(data), mark, opened, pdf.modified_at)
    path = f"{pdf.path}/{name}.png"
    if last is not None and last not in PLAIN:
        detail = f"{path!r} is a picture by {str(last)[1:]}, which is not read; save it as JPEG"
        return Refused(path, ItemFault(Code.UNSUPPORTED_FORMAT, detail))
    data = _png_of(page, key)
    return Member(path, len(data), mark, partial(io.BytesIO, data), pdf.modified_at)


def _png_of(page: PageObject, key: str) -> bytes:
    """A picture that is plain numbers in the PDF, without loss."""
    picture = page.images[key].image
    if picture is None:
        raise ValueError(f"the picture {key} has no pixels")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
