"""The dead queues, for people: look, put back, throw away. Behind `darkroom dead
list|show|retry|drop`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from shared.broker.publisher import Publisher
from shared.broker.topology import ALL, dead
from shared.broker.transports import connected
from shared.errors import Code, NotFound
from shared.runtime.settings import Settings

LIMIT = 1000
"""Messages of each queue that are looked at; the oldest come first."""

REASON = ("code", "detail", "queue", "at")


@dataclass(frozen=True)
class DeadLetter:
    """A message that was set aside. `id` is derived from queue and body: equal messages
    share it.
    """

    id: str
    queue: str
    body: bytes
    code: str
    detail: str
    at: str
    headers: dict[str, Any]


def letters(
    settings: Settings, queue: str | None = None, limit: int = LIMIT
) -> list[DeadLetter]:
    """The oldest `limit` of `queue` (None: of each queue). Raises `BrokerUnavailable`,
    as all functions here.
    """
    found: list[DeadLetter] = []

    def leave(letter: DeadLetter) -> bool:
        found.append(letter)
        return False

    _sift(settings, queue, leave, limit)
    return found


def find(settings: Settings, ident: str) -> DeadLetter:
    """Raises `NotFound`."""
    for letter in letters(settings):
        if letter.id == ident:
            return letter
    raise NotFound(
        Code.BAD_MESSAGE,
        f"no dead message {ident!r} among the oldest {LIMIT} of each queue; `darkroom dead list` shows them",
    )


def retry(
    settings: Settings,
    idents: Collection[str] | None = None,
    queue: str | None = None,
    prepare: Callable[[DeadLetter], object] = lambda _: None,
) -> int:
    """Publish these messages (None: all) to the queue they came from, each leaving the
    dead after; number moved.

    `prepare` is called before each is published; what it raises leaves the message
    among the dead.
    """
    publisher = Publisher(settings)

    def put_back(letter: DeadLetter) -> bool:
        prepare(letter)
        publisher.publish(letter.queue, letter.body, letter.headers)
        return True

    try:
        return _count(settings, idents, queue, put_back)
    finally:
        publisher.close()


def drop(
    settings: Settings, idents: Collection[str] | None = None, queue: str | None = None
) -> int:
    """Throw these messages (None: all) away for good; number dropped."""
    return _count(settings, idents, queue, lambda _: True)


def _count(
    settings: Settings,
    idents: Collection[str] | None,
    queue: str | None,
    act: Callable[[DeadLetter], bool],
) -> int:
    done: list[str] = []

    def take(letter: DeadLetter) -> bool:
        if idents is not None and letter.id not in idents:
            return False
        done.append(letter.id)
        return act(letter)

    _sift(settings, queue, take)
    return len(done)


def _sift(
    settings: Settings,
    only: str | None,
    take: Callable[[DeadLetter], bool],
    limit: int = LIMIT,
) -> None:
    with connected(settings) as (transport, channel):
        for queue in ALL if only is None else (only,):
            transport.sift(channel, dead(queue), limit, partial(_show, queue, take))


def _show(
    queue: str, take: Callable[[DeadLetter], bool], body: bytes, headers: dict[str, Any]
) -> bool:
    return take(_letter(queue, body, headers))


def _letter(queue: str, body: bytes, headers: dict[str, Any]) -> DeadLetter:
    return DeadLetter(
        id=hashlib.sha256(queue.encode() + b"\0" + body).hexdigest()[:12],
        queue=queue,
        body=body,
        # Set aside by RabbitMQ itself (delivery limit) it has RabbitMQ's reason.
        code=str(
            headers.get("code") or headers.get("x-first-death-reason") or "unknown"
        ),
        detail=str(headers.get("detail", "")),
        at=str(headers.get("at", "")),
        headers={
            name: value
            for name, value in headers.items()
            if name not in REASON and isinstance(value, str)
        },
    )
