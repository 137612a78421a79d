"""What an upload can reach, held by looking: decoders, versions, and the ways around
our own limits.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import PIL
from packaging.requirements import Requirement
from packaging.version import Version
from PIL import Image, ImageFile

from gpu_worker.codec.decode import FORMATS

ROOT = Path(__file__).parents[4]
FLOOR = Version("12.3")  # below: FITS and PSD overflows, an endless EPS
# Pillow opens its own five and the `DIB` inside a BMP file at once; `formats=` keeps
# PPM and DIB from uploads.
OPENERS = {
    *("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PSD"),
    *("PPM", "DIB"),
}
# The benchmark and the demonstration open pictures that they made or pinned themselves.
OWN_PICTURES = {
    "infra/bench/engine.py",
    "infra/bench/engine_process.py",
    "infra/commands/demo.py",
    "infra/demo/samples.py",
}
SOURCES = sorted(
    path
    for wing in ("gpu_worker", "handlers", "infra", "shared")
    for path in (ROOT / wing).rglob("*.py")
)

ALL_FILES = """
from PIL import Image
from gpu_worker.codec import Limits, decode
from shared.errors import PermanentError
from tests.support import hostile
for data in [*hostile.sound().values(), *hostile.STRANGERS.values()]:
    try:
        decode(data, Limits())
    except PermanentError:
        pass
print(" ".join(sorted(Image.OPEN)))
"""


def calls(path: Path, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield node


def own(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_other_decoder_is_ever_loaded() -> None:
    """Sound photos of every kind and every stranger leave the list of decoders as it
    was: no FITS, EPS, ICO.
    """
    done = subprocess.run(
        [sys.executable, "-c", ALL_FILES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == OPENERS


def test_an_upload_reaches_ten_decoders() -> None:
    """The list itself: a change that makes it longer changes this line, too."""
    assert set(FORMATS) == OPENERS - {"PPM", "DIB"}


def test_no_picture_is_opened_without_a_list_of_formats() -> None:
    """`Image.open` without `formats` would try every decoder there is."""
    opened = {own(path): list(calls(path, "Image.open")) for path in SOURCES}
    assert sum(map(len, opened.values())) > 4
    loose = {
        name
        for name, found in opened.items()
        if any("formats" not in {k.arg for k in c.keywords} for c in found)
    }
    assert loose <= OWN_PICTURES


def test_the_worker_decodes_apart() -> None:
    """Only the decoder's own process, and the benchmark on its own pictures, decode
    where they are.
    """
    here = {
        own(path)
        for path in SOURCES
        if list(calls(path, "codec.decode")) or list(calls(path, "decode"))
    }
    assert {name for name in here if not name.startswith("infra/bench/")} == {
        "gpu_worker/codec/sandbox_child.py"
    }


def test_half_pictures_are_never_made_whole() -> None:
    """Pillow would fill what is missing with grey."""
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_the_limit_of_pixels_is_ours() -> None:
    """Pillow's own is process-wide, and only warns up to twice its value; ours is exact
    and tested on every format.
    """
    assert Image.MAX_IMAGE_PIXELS is None


def test_the_decoders_are_current() -> None:
    """The installed Pillow, and the oldest that the package allows."""
    assert Version(PIL.__version__) >= FLOOR
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    requirements = [Requirement(text) for extra in extras for text in extra]
    specifiers = [each.specifier for each in requirements if each.name == "pillow"]
    assert specifiers
    for specifier in specifiers:
        assert not specifier.contains("12.2")
        assert specifier.contains(PIL.__version__)
