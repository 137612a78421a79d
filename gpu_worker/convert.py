"""`python -m gpu_worker convert`: results in other formats, for an export whose uploads did
not ask for them. Nothing is stored.

A line of JSON on stdin asks for a copy, `{"task_id", "format", "labelled", "out"}`; a line
on stdout answers, `{"obstacle"}`: why there is none, or nothing. The copy is written into
the file `out`, which is there and empty.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gpu_worker import codec
from shared.errors import DarkroomError, PermanentError
from shared.runtime import telemetry
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import keys
from shared.uploads.formats import FileFormat

PNG_HEAD = 8
CHUNK_FRAME = 12
"""Bytes of a chunk beside its data."""


class Converter:
    """Makes copies out of stored results, which are decoded apart, as uploads are."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = S3Store(settings)
        self._decoder = codec.Decoder(settings)

    def __call__(
        self, task_id: str, file_format: FileFormat, is_labelled: bool, out: IO[bytes]
    ) -> str | None:
        """Write a copy, with the visible label or without; why there can be none, as a
        sentence.
        """
        key = keys.result(task_id)
        try:
            data = self._store.read(self._settings.bucket_results, key)
            return convert(
                data,
                file_format,
                out,
                self._decoder,
                self._settings,
                is_labelled=is_labelled,
            )
        except PermanentError as error:
            return error.detail

    def close(self) -> None:
        """End the process that decodes."""
        self._decoder.close()


def convert(
    png: bytes | bytearray,
    file_format: FileFormat,
    out: IO[bytes],
    decoder: codec.Decoder,
    settings: Settings,
    *,
    is_labelled: bool = False,
) -> str | None:
    """Write a result into `out` in another format, with all that it says of itself; why
    that cannot be, as a sentence. `is_labelled`: with the visible label. Raises
    `DarkroomError` where it cannot be decoded, or no font has the label's letters.
    """
    if is_labelled:
        codec.check_label(settings)
    photo = decoder.decode(png, _pixels(png))
    obstacle = codec.obstacle(photo, file_format)
    if obstacle is None:
        # Where the setting asks for it, the result itself has the label.
        if is_labelled and not settings.label_result:
            codec.stamp(photo, settings.label_text)
        codec.write_copy(photo, file_format, out, xmp_of(png), settings, decoder)
    return obstacle


def _pixels(png: bytes | bytearray) -> int:
    width, height = struct.unpack_from(">2I", png, PNG_HEAD + 8)
    return int(width * height)


def xmp_of(png: bytes | bytearray) -> str:
    """The XMP packet of a PNG of ours, as it is; nothing where there is none."""
    head = codec.XMP_KEYWORD.encode() + b"\0"
    for data in _international_texts(png):
        if data.startswith(head):
            is_packed = data[len(head)] == 1
            text = data[len(head) + 2 :].split(b"\0", 2)[2]
            return (zlib.decompress(text) if is_packed else text).decode()
    return ""


def _international_texts(png: bytes | bytearray) -> Iterator[bytes]:
    """The data of all chunks of the kind that holds XMP."""
    place = PNG_HEAD
    while place + CHUNK_FRAME <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        if png[place + 4 : place + 8] == b"iTXt":
            yield bytes(png[place + 8 : place + 8 + length])
        place += CHUNK_FRAME + length


def main(argv: list[str]) -> int:
    """Answer until stdin ends; exit status 2 for arguments, of which there are none."""
    if argv:
        print("usage: python -m gpu_worker convert", file=sys.stderr)
        return 2
    settings = Settings.load()
    telemetry.configure_command(settings, "convert")  # stdout belongs to the answers
    converter = Converter(settings)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            with Path(asked["out"]).open("wb") as out:
                obstacle = converter(
                    asked["task_id"], asked["format"], asked["labelled"], out
                )
        except DarkroomError as error:
            obstacle = error.detail
        print(json.dumps({"obstacle": obstacle}), flush=True)
    converter.close()
    return 0
