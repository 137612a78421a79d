"""How a client brings a file to the object store: by a ticket's form, or in parts, of
which those that have arrived are not sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

import httpx

from shared.errors import Code, PermanentError, TransientError

Progress = Callable[[int, int], None]
"""Called with the bytes of a file that were sent, and with all of them."""

PIECE_BYTES = 1 << 16
TRIES = 3
"""Of a part, in one call; the next call goes on with that part."""
PAUSE_S = 1.0


class CountedFile(BufferedReader):
    """A file that tells how far it was read."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(FileIO(path))
        self._progress = progress
        self._bytes = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self._progress(self.tell(), self._bytes)
        return piece


def unheard(_sent: int, _all: int) -> None:
    """The progress of an upload that nobody asks for."""


def send_form(
    store: httpx.Client, path: Path, form: dict[str, Any], progress: Progress
) -> None:
    """Send a whole file. Raises `TransientError` and `PermanentError`."""
    with CountedFile(path, progress) as file:
        try:
            response = store.post(
                form["url"], data=form["fields"], files={"file": (path.name, file)}
            )
        except httpx.HTTPError as error:
            raise _away(path) from error
    if not response.is_success:
        raise _refused(path, response)


def send_parts(
    store: httpx.Client, path: Path, multipart: dict[str, Any], progress: Progress
) -> None:
    """Send the parts of a file that have not arrived, and put them together. Raises
    `TransientError`, after which the same ticket goes on, and `PermanentError`.
    """
    size = path.stat().st_size
    etags: list[tuple[int, str]] = []
    start = 0
    for part in multipart["parts"]:
        etag = part.get("etag") or _send_part(store, path, start, part)
        etags.append((part["number"], etag))
        start += part["bytes"]
        progress(start, size)
    _complete(store, path, multipart["complete"], etags)


def _send_part(
    store: httpx.Client, path: Path, start: int, part: dict[str, Any]
) -> str:
    """The ETag of a part that was sent."""
    headers = {"Content-Length": str(part["bytes"])}
    for number in range(TRIES):
        if number:
            time.sleep(PAUSE_S)
        pieces = _pieces(path, start, part["bytes"])
        try:
            response = store.put(part["url"], content=pieces, headers=headers)
        except httpx.HTTPError:
            continue
        if response.is_success:
            return response.headers["etag"]
        if response.status_code < 500:
            raise _refused(path, response)
    raise _away(path)


def _complete(
    store: httpx.Client, path: Path, url: str, etags: list[tuple[int, str]]
) -> None:
    parts = [
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in etags
    ]
    body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>"
    try:
        response = store.post(url, content=body.encode())
    except httpx.HTTPError as error:
        raise _away(path) from error
    if not response.is_success:
        raise _refused(path, response)
    # The store may answer 200, and tell of an error in the body.
    if b"<Error>" in response.content:
        raise _away(path)


def _pieces(path: Path, start: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        left = size
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                return
            left -= len(piece)
            yield piece


def _away(path: Path) -> TransientError:
    return TransientError(
        Code.STORAGE_UNAVAILABLE, f"the store does not take {path}; send it again"
    )


def _refused(path: Path, response: httpx.Response) -> PermanentError:
    detail = f"the store refused {path}: HTTP {response.status_code}"
    return PermanentError(Code.STORAGE_UNAVAILABLE, detail)
