"""Lines of JSON between a process and its child."""

from __future__ import annotations

import json
import socket
from typing import Any

NO_CREDENTIALS = "ManifestNotFound"
"""How the library's error begins where a file has none."""


class Channel:
    """One end of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rwb")

    def send(self, message: dict[str, Any]) -> None:
        self._file.write(json.dumps(message).encode() + b"\n")
        self._file.flush()

    def receive(self, most: int = -1) -> dict[str, Any]:
        """The next message. Raises `EOFError` where none comes, or one of more than
        `most` bytes, and `TypeError` for one that is no JSON object.
        """
        line = self._file.readline(most)
        if not line.endswith(b"\n"):
            raise EOFError
        message = json.loads(line)
        if not isinstance(message, dict):
            raise TypeError("the message is no object")
        return message
