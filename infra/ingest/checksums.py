"""Lists of checksums: GNU (`sha256sum`), BSD (`shasum --tag`, openssl) and md5deep.

A line that cannot be read is an error, never skipped: a check that checks nothing is
worse than none.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from shared.errors import SettingsError

ALGORITHM_OF_DIGITS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
STATED = {
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA256": "sha256",
    "SHA2-256": "sha256",
    "SHA512": "sha512",
    "SHA2-512": "sha512",
}
"""The name of an algorithm in a BSD line → that of `hashlib`."""
_GNU = re.compile(r"(\\?)([0-9A-Fa-f]{32,128}) [ *](.+)")
_BSD = re.compile(r"([A-Za-z0-9-]+) ?\((.+)\) ?= ([0-9A-Fa-f]{32,128})")


@dataclass(frozen=True)
class Checksum:
    """What the bytes of one file add up to. `algorithm` is one of `hashlib`'s."""

    algorithm: str
    digest: str

    def new(self) -> hashlib._Hash:
        """An empty digest of the algorithm."""
        return hashlib.new(self.algorithm, usedforsecurity=False)


def parse(text: str, name: str) -> dict[str, Checksum]:
    """Path → checksum. `name`: the list's own, for the errors.

    Raises `SettingsError` with the first line that is no checksum, or that says
    something else of a file than a line before it.
    """
    found: dict[str, Checksum] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        path, checksum = _of_line(line, f"{name}, line {number}")
        if found.setdefault(path, checksum) != checksum:
            raise SettingsError(f"{name}, line {number}: a second checksum of {path!r}")
    return found


def of_digest(digest: str, where: str) -> Checksum:
    """The checksum that so many hexadecimal digits are. Raises `SettingsError`."""
    algorithm = ALGORITHM_OF_DIGITS.get(len(digest))
    if algorithm is None or not re.fullmatch("[0-9A-Fa-f]+", digest):
        raise SettingsError(
            f"{where}: {digest[:150]!r} is no MD5, SHA-1, SHA-256 or SHA-512"
        )
    return Checksum(algorithm, digest.lower())


def _of_line(line: str, where: str) -> tuple[str, Checksum]:
    if bsd := _BSD.fullmatch(line):
        name, path, digest = bsd.groups()
        checksum = of_digest(digest, where)
        if STATED.get(name.upper()) != checksum.algorithm:
            raise SettingsError(f"{where}: {digest[:150]!r} is no {name}")
        return _plain(path), checksum
    if gnu := _GNU.fullmatch(line):
        is_escaped, digest, path = gnu.groups()
        if is_escaped:
            path = _unescaped(path)
        return _plain(path), of_digest(digest, where)
    raise SettingsError(
        f"{where}: {line[:80]!r} is no checksum; "
        "write `DIGEST  PATH` as sha256sum does, or `SHA256 (PATH) = DIGEST`"
    )


def _plain(path: str) -> str:
    return path.removeprefix("./")


def _unescaped(path: str) -> str:
    """GNU writes a newline as `\\n` and a backslash as `\\\\`, and marks the line."""
    meant = {"n": "\n", "r": "\r", "\\": "\\"}
    return re.sub(r"\\(.)", lambda found: meant.get(found[1], found[0]), path)
