"""The process that makes a PDF, taken over by a picture: it tries what the picture's
bytes name, and ends with status 7 where the kernel lets it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from handlers.reports import pdf_child

ALLOWED = 7
honest = pdf_child._jpeg


def _spin() -> None:
    while True:
        pass


ACTS: dict[bytes, Callable[[], object]] = {
    b"read": lambda: Path("/etc/passwd").read_bytes(),
    b"write": lambda: Path("/tmp/of-a-report").write_bytes(b"x"),
    b"connect": lambda: socket.create_connection(("127.0.0.1", 1), 1),
    b"socket": lambda: socket.socket(),
    b"program": lambda: subprocess.run(["true"], check=True),
    b"fork": os.fork,
    b"spin": _spin,
}


def act(data: bytes) -> bytes | None:
    if data not in ACTS:
        return honest(data)
    try:
        ACTS[data]()
    except OSError:
        return None
    os._exit(ALLOWED)


if __name__ == "__main__":
    pdf_child._jpeg = act
    sys.exit(pdf_child.main(sys.stdin.buffer, sys.stdout.buffer))
