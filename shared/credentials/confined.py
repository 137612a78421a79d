"""Content credentials are read and made in a process of their own for every file: files
of strangers are parsed there, and the key stays here.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from shared.credentials.channel import Channel
from shared.errors import Code, PermanentError
from shared.runtime.addresses import without_passwords

if TYPE_CHECKING:
    from shared.credentials.identity import Identity

CHILD = "shared.credentials.child"
BASE_BYTES = 512 << 20
PER_BYTE = 3
"""The library's need was at most 2.5 times a picture, without its own files on the disk."""
BASE_S = 60.0
SLOWEST_BYTES_PER_S = 4e6
MOST_MANIFEST_BYTES = 64 << 20
MOST_ANSWER_BYTES = 1 << 20
NO_ANSWER = "the process of the content credentials gave an answer that is none"
"""Of one that was taken over, which may say anything."""
ROOT = Path(__file__).parents[2]


class CredentialFault(PermanentError):
    """An error about the content credentials of one file."""

    def __init__(self, detail: str) -> None:
        super().__init__(Code.BAD_CREDENTIALS, detail)


@dataclass(frozen=True)
class Reading:
    """What a reader finds: `state` is Trusted (by a root that was named), Valid or
    Invalid; `failures` are C2PA's codes for what is wrong.
    """

    state: str
    issuer: str | None = None
    name: str | None = None
    time: str | None = None
    failures: list[str] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        return self.state in ("Trusted", "Valid")


def read(
    asset: IO[bytes], media_type: str, manifest: IO[bytes] | None, roots: str = ""
) -> Reading:
    """The credentials in a file, or in the sidecar `manifest`. `roots`: certificates in
    PEM that are trusted.

    Raises `CredentialFault` where there are none, or they cannot be read.
    """
    request = {
        "action": "read",
        "type": media_type,
        "asset": asset.fileno(),
        "manifest": manifest.fileno() if manifest else None,
        "roots": roots,
        **_limits(_size(asset) + (_size(manifest) if manifest else 0)),
        "file_bytes": 0,
    }
    files = [asset, manifest] if manifest else [asset]
    return _reading(_asked(request, files, _never))


def sign(
    identity: Identity,
    definition: dict[str, Any],
    parent: dict[str, Any],
    asset: IO[bytes],
    original: IO[bytes] | None,
    out: IO[bytes],
    *,
    embeds: bool,
) -> Reading | None:
    """Write the signed picture, or its credentials alone, into the empty file `out`.

    `parent` describes the original, which is looked at where it is at hand; the answer
    is what its own credentials are worth, None where it has none. Raises
    `CredentialFault`, and what the identity raises.
    """
    size = _size(asset)
    request = {
        "action": "sign",
        "type": definition["format"],
        "definition": definition,
        "parent": parent,
        "algorithm": identity.algorithm,
        "chain": identity.chain,
        "tsa_url": identity.tsa_url,
        "asset": asset.fileno(),
        "original": original.fileno() if original else None,
        "out": out.fileno(),
        "embeds": embeds,
        **_limits(size),
        "file_bytes": size + MOST_MANIFEST_BYTES,
    }
    files = [file for file in (asset, original, out) if file]
    answer = _asked(request, files, identity.sign)
    if "carried" not in answer:
        raise CredentialFault(NO_ANSWER)
    return _reading(answer["carried"]) if answer["carried"] else None


def _limits(size: int) -> dict[str, float]:
    return {
        "memory_bytes": BASE_BYTES + PER_BYTE * size,
        "seconds": BASE_S + size / SLOWEST_BYTES_PER_S,
    }


def _asked(
    request: dict[str, Any], files: list[IO[bytes]], sign: Callable[[bytes], bytes]
) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            fds = [theirs.fileno(), *(file.fileno() for file in files)]
            process = _started(theirs.fileno(), fds)
        ours.settimeout(request["seconds"])
        try:
            answer = _answer(ours, request, sign)
        # A reader that was taken over may answer anything.
        except (OSError, EOFError, ValueError, TypeError, RecursionError) as error:
            raise CredentialFault(
                "the content credentials took their reader down, or longer than they may"
            ) from error
        finally:
            process.kill()
            process.wait()
    if "error" in answer:
        # The library's words repeat the address of the authority.
        raise CredentialFault(without_passwords(str(answer["error"])))
    return answer


def _started(control: int, fds: list[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", CHILD, str(control)],
        pass_fds=fds,
        env={"PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )


def _answer(
    ours: socket.socket, request: dict[str, Any], sign: Callable[[bytes], bytes]
) -> dict[str, Any]:
    channel = Channel(ours)
    channel.send(request)
    answer = channel.receive(MOST_ANSWER_BYTES)
    # A file is signed once: a child that was taken over gets no signatures to keep.
    if "to_sign" in answer:
        signature = sign(base64.b64decode(answer["to_sign"]))
        channel.send({"signature": base64.b64encode(signature).decode()})
        answer = channel.receive(MOST_ANSWER_BYTES)
    return answer


def _reading(found: Any) -> Reading:
    try:
        return Reading(
            state=str(found["state"]),
            issuer=found.get("issuer"),
            name=found.get("name"),
            time=found.get("time"),
            failures=[str(code) for code in found["failures"]],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CredentialFault(NO_ANSWER) from error


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _never(_: bytes) -> bytes:
    """A reader asks for no signature."""
    raise EOFError
