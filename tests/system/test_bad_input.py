"""Bad input: refused with a code and a sentence, in the bucket and in the log; the
upload itself stays.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from tests.support.client import Client, photo
from tests.system.test_main_job import upload_id


def bomb() -> bytes:
    """A PNG of a few hundred kilobytes that claims 40,000 × 40,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(300_000_000), 9))
        + chunk(b"IEND", b"")
    )


def animation() -> bytes:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "green", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def half_a_tiff() -> bytes:
    data = photo(300, 300, kind="TIFF")
    return data[: len(data) // 2]


def letter() -> bytes:
    return b"Dear grandmother,\n" * 20


def script() -> bytes:
    return b"#!/usr/bin/env python3\nprint('hi')\n"


def cut_jpeg() -> bytes:
    return photo(400, 300, seed=1, kind="JPEG")[:-900]


def too_large() -> bytes:
    return photo(seed=5) + bytes(50_000_001)


Case = tuple[Callable[[], bytes], dict[str, str], set[str]]
CASES: dict[str, Case] = {
    "zero bytes": (bytes, {}, {"empty_file"}),
    "text named jpg": (letter, {}, {"unsupported_format"}),
    "python script": (script, {}, {"unsupported_format"}),
    "truncated jpeg": (cut_jpeg, {}, {"truncated", "decode_error"}),
    "half a tiff": (half_a_tiff, {}, {"truncated", "decode_error"}),
    "bomb": (bomb, {}, {"too_many_pixels"}),
    "animated gif": (animation, {}, {"animated"}),
    "unknown workflow": (photo, {"workflow": "sepia"}, {"unknown_workflow"}),
    "parameter out of range": (photo, {"params": '{"scale": 9}'}, {"bad_parameter"}),
    "parameters not json": (
        photo,
        {"params": "{scale"},
        {"bad_metadata", "bad_parameter"},
    ),
    "over the size limit": (too_large, {}, {"too_large"}),
}
"""What makes the file, its metadata, and the codes that it may end with."""


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_a_reason(client: Client, case: str) -> None:
    """`rejected`, or `failed` where only the full decode shows it; one reason in the
    bucket, one row in the log.
    """
    made, metadata, codes = CASES[case]
    data = made()
    key = f"bad/{case}.jpg"
    upload = upload_id(key, client.put(key, data, **metadata))
    reason = client.reason(upload)
    assert reason["error_code"] in codes
    assert len(reason["error_detail"]) > 15
    row = client.row(upload, "rejected", "failed")
    assert (row["error_code"], row["status"]) == (
        reason["error_code"],
        reason["status"],
    )
    assert client.read("uploads", key) == data


def test_a_good_photo_between_bad_ones_is_not_delayed(client: Client) -> None:
    for number in range(5):
        client.put(f"bad/again-{number}.jpg", b"nothing" * (number + 1))
    upload = upload_id("good.png", client.put("good.png", photo()))
    assert client.row(upload, "success")["status"] == "success"
