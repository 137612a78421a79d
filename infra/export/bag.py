"""Bags by RFC 8493: what makes a folder of files one that proves itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from importlib import resources

from infra.export.sinks import Sink, Written
from shared import __version__

PAYLOAD = "data/"
ALGORITHMS = ("sha256", "sha512")
PROFILE = "bag-profile.json"
"""What every bag of ours has, in the form of BagIt Profiles; it lies in each."""
PROFILE_ID = "urn:darkroom:bag-profile:1"


@dataclass(frozen=True)
class Part:
    """Which of a group's bags one is, counted from 1. How many there are is known with
    the last one only.
    """

    number: int
    is_last: bool

    @property
    def count(self) -> str:
        """The value of `Bag-Count`."""
        return f"{self.number} of {self.number if self.is_last else '?'}"


def write_tags(sink: Sink, name: str, day: date, part: Part | None = None) -> None:
    """Write the tag files of a bag whose payload has been written. `part`: of a bag
    that is one of a group, which has the name.
    """
    payload = {
        path: file for path, file in sink.written.items() if path.startswith(PAYLOAD)
    }
    size = sum(file.size for file in payload.values())
    _write(
        sink, "bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    )
    info = {
        "External-Identifier": name,
        "Bag-Software-Agent": f"Darkroom {__version__}",
        "Bagging-Date": day.isoformat(),
        "Payload-Oxum": f"{size}.{len(payload)}",
        "BagIt-Profile-Identifier": PROFILE_ID,
    }
    if part:
        info["External-Identifier"] = f"{name}-{part.number:03d}"
        info["Bag-Group-Identifier"] = name
        info["Bag-Count"] = part.count
    _write(
        sink,
        "bag-info.txt",
        "".join(f"{key}: {_line(value)}\n" for key, value in info.items()),
    )
    _write(sink, PROFILE, profile())
    for algorithm in ALGORITHMS:
        _write(sink, f"manifest-{algorithm}.txt", manifest(payload, algorithm))
    tags = {path: file for path, file in sink.written.items() if path not in payload}
    for algorithm in ALGORITHMS:
        _write(sink, f"tagmanifest-{algorithm}.txt", manifest(tags, algorithm))


def profile() -> str:
    """The text of our profile."""
    return (resources.files("infra.export") / PROFILE).read_text()


def manifest(files: dict[str, Written], algorithm: str) -> str:
    """Lines `DIGEST  PATH` in the order of the paths. Our names hold neither line ends
    nor percent signs, which would have to be escaped.
    """
    return "".join(
        f"{getattr(file, algorithm)}  {path}\n" for path, file in sorted(files.items())
    )


def _line(text: str) -> str:
    return " ".join(text.split())


def _write(sink: Sink, path: str, text: str) -> None:
    sink.write(path, [text.encode()])
