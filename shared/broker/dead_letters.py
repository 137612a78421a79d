"""Looking at the dead letters of every queue, putting them back, and dropping them.

Behind `darkroom dead list|show|retry|drop` and `/v1/dead`. All functions raise `BrokerUnavailable`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from shared.broker.dead_letter import DeadLetter
from shared.broker.publisher import Publisher
from shared.broker.topology import ALL, dead_queue
from shared.broker.transports import connected
from shared.errors import Code, NotFound
from shared.runtime.settings import BrokerSettings

LIMIT = 1000
"""Letters of each queue that are looked at; the oldest come first."""


def letters(
    settings: BrokerSettings, queue: str | None = None, limit: int = LIMIT
) -> list[DeadLetter]:
    """The oldest `limit` letters from `queue` (None: from each queue)."""
    found: list[DeadLetter] = []

    def keep(letter: DeadLetter) -> bool:
        found.append(letter)
        return False

    _scan(settings, queue, keep, limit)
    return found


def find(settings: BrokerSettings, letter_id: str) -> DeadLetter:
    """The letter with this id. Raises `NotFound`."""
    for letter in letters(settings):
        if letter.id == letter_id:
            return letter
    raise NotFound(
        Code.BAD_MESSAGE,
        f"no dead message {letter_id!r} among the oldest {LIMIT} of each queue; "
        "`darkroom dead list` shows them",
    )


def retry(
    settings: BrokerSettings,
    ids: Collection[str] | None = None,
    queue: str | None = None,
    prepare: Callable[[DeadLetter], object] = lambda _: None,
) -> int:
    """Publish these letters (None: all) to the queues they came from; their number.

    `prepare` is called before each is published; a letter for which it raises stays. A
    letter is removed after it was published, so that none is lost.
    """
    publisher = Publisher(settings)

    def put_back(letter: DeadLetter) -> bool:
        prepare(letter)
        publisher.publish(letter.queue, letter.body, letter.headers)
        return True

    try:
        return _remove(settings, ids, queue, put_back)
    finally:
        publisher.close()


def drop(
    settings: BrokerSettings,
    ids: Collection[str] | None = None,
    queue: str | None = None,
) -> int:
    """Delete these letters (None: all) for good; their number."""
    return _remove(settings, ids, queue, lambda _: True)


def _remove(
    settings: BrokerSettings,
    ids: Collection[str] | None,
    queue: str | None,
    act: Callable[[DeadLetter], bool],
) -> int:
    """Remove the letters for which `act` is true; the number that it was called for."""
    acted_on = 0

    def take(letter: DeadLetter) -> bool:
        nonlocal acted_on
        if ids is not None and letter.id not in ids:
            return False
        acted_on += 1
        return act(letter)

    _scan(settings, queue, take)
    return acted_on


def _scan(
    settings: BrokerSettings,
    only: str | None,
    take: Callable[[DeadLetter], bool],
    limit: int = LIMIT,
) -> None:
    """Show the oldest letters to `take`, and remove those for which it is true."""
    queues = ALL if only is None else (only,)
    with connected(settings) as (transport, channel):
        for queue in queues:
            show = partial(_show, queue, take)
            transport.scan(channel, dead_queue(queue), limit, show)


def _show(
    queue: str, take: Callable[[DeadLetter], bool], body: bytes, headers: dict[str, Any]
) -> bool:
    return take(DeadLetter.read(queue, body, headers))
