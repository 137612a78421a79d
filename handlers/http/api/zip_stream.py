"""A ZIP file that is sent while it is written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator


def zipped(files: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """The ZIP file of these names and contents, in pieces no larger than theirs.

    Nothing is compressed: results are already. A file that breaks off breaks off the
    whole: what was sent of it cannot be taken back.
    """
    sent = _Sent()
    with zipfile.ZipFile(sent, "w") as archive:
        for name, chunks in files:
            with archive.open(name, "w", force_zip64=True) as out:
                for chunk in chunks:
                    out.write(chunk)
                    yield sent.take()
    yield sent.take()


class _Sent(io.RawIOBase):
    """Holds what was written since it was last taken; there is no way back."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._held += data
        return len(data)

    def take(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held
