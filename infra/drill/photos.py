"""Photos of the drill's own: small, each another one, and the same at each drill."""

from __future__ import annotations

import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from infra.client import DarkroomClient
from infra.drill.own_stack import OwnStack
from shared.errors import Code, DarkroomError, PermanentError

SIDE = 24
SENDERS = 8
EACH_S = 1.0
RESTORED_S = 1800.0


def png(number: int) -> bytes:
    """A PNG of 24 x 24 px: a gradient of random colours, with noise."""
    random = Random(number)  # noqa: S311 - a picture, no secret
    base = [random.randrange(40, 200) for _ in range(3)]
    rows = []
    for y in range(SIDE):
        row = bytearray([0])
        for x in range(SIDE):
            for channel, level in enumerate(base):
                value = level + (x if channel else y) + random.randrange(12)
                row.append(min(255, value))
        rows.append(bytes(row))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(rows))
    chunks = [(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def send(client: DarkroomClient, folder: Path, number: int) -> str:
    """Upload a photo by a ticket; returns the ticket."""
    path = folder / f"drill-{number:05}.png"
    path.write_bytes(png(number))
    return client.submit(path, workflow="fast")


def restored(stack: OwnStack, folder: Path, count: int) -> None:
    """Have `count` photos restored. Raises `PermanentError` where one is not."""
    with stack.client() as client, ThreadPoolExecutor(SENDERS) as pool:
        tickets = list(pool.map(lambda n: send(client, folder, n), range(count)))
        for ticket in tickets:
            state = client.wait(ticket, RESTORED_S)
            if not state.restored:
                raise PermanentError(
                    Code.INTERNAL,
                    f"a photo of the drill ended as {state.status}: {state.error_detail}",
                )


class Uploads:
    """Uploads that run on, a photo a second, until `stop`."""

    def __init__(self, stack: OwnStack, folder: Path, first: int) -> None:
        self._stack, self._folder, self._first = stack, folder, first
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with self._stack.client() as client:
            while not self._stopping.wait(EACH_S):
                try:
                    send(client, self._folder, self._first + self.sent)
                except (DarkroomError, OSError):
                    return  # the stack is lost
                self.sent += 1
