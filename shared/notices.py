"""What the administrator of a stack is told. Any process asks for it by a message; the
callbacks process, which alone calls the outside, tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol

from shared.broker import topology
from shared.errors import BrokerUnavailable, MessageError
from shared.runtime.telemetry import logger
from shared.uploads.messages import Message

Kind = Literal["failures", "burst", "dead_letters", "disk", "backup", "drill"]

MAX_DETAIL = 500
"""Characters of a sentence."""


class Notice(Message):
    """`darkroom.callbacks`: tell the administrator this sentence. It names no user and
    no file.
    """

    v: int = 1
    notice: Kind
    detail: str
    at: datetime


class Publisher(Protocol):
    """What sends a notice on its way."""

    def publish(
        self, queue: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Raises `BrokerUnavailable`."""


def tell(publisher: Publisher, kind: Kind, detail: str) -> None:
    """Ask for a notice. Without a broker it is a line in the log, and no more."""
    notice = Notice(notice=kind, detail=detail[:MAX_DETAIL], at=datetime.now(UTC))
    try:
        publisher.publish(topology.CALLBACKS, notice.encode())
    except BrokerUnavailable:
        logger().error("notice.lost", kind=kind, detail=notice.detail)


def notice_in(body: bytes) -> Notice | None:
    """Return the notice that a message of `darkroom.callbacks` asks for; None if it asks
    for a webhook.
    """
    try:
        return Notice.decode(body)
    except MessageError:
        return None
