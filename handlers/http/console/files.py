"""The files of the page, read once, under addresses that change with their content.

`/console/static/{version}/…`: the version is a checksum over all files, so that each may
be kept for ever, by browsers and by what stands between, and files of two releases are
never mixed. The pages themselves, which name the version, are asked for every time.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
"""What is served; licences and notes beside it are not."""
COMPRESSED = frozenset({".css", ".html", ".js", ".json", ".svg"})
VERSION_DIGITS = 16
PLACEHOLDER = b"{{version}}"
OIDC = b"{{oidc}}"
"""In a page: `yes` where people can sign in by an OpenID provider."""


@dataclass(frozen=True)
class StaticFile:
    """`gzipped` is None for what is compressed already."""

    body: bytes
    media_type: str
    gzipped: bytes | None


class StaticFiles:
    """All files under a folder, by their path in it."""

    def __init__(self, folder: Path = STATIC, oidc: bool = False) -> None:
        self._oidc = b"yes" if oidc else b"no"
        found = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in TYPES
        }
        self.version = _version(found)
        self._files = {name: self._file(name, body) for name, body in found.items()}

    def get(self, name: str) -> StaticFile | None:
        return self._files.get(name)

    def _file(self, name: str, body: bytes) -> StaticFile:
        suffix = Path(name).suffix
        if suffix == ".html":
            body = body.replace(PLACEHOLDER, self.version.encode())
            body = body.replace(OIDC, self._oidc)
        gzipped = gzip.compress(body, mtime=0) if suffix in COMPRESSED else None
        return StaticFile(body, TYPES[suffix], gzipped)


def _version(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, body in files.items():
        digest.update(f"{name}\0{len(body)}\0".encode())
        digest.update(body)
    return digest.hexdigest()[:VERSION_DIGITS]
