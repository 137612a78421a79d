"""Breaks one promise of Darkroom in every process that starts with this folder on its
path: see `tests.chaos.mutants`.

Python imports a module of this name by itself, so that processes started by tests are
broken as well.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any


def early_ack() -> None:
    """A delivery is settled when it comes, not when its work is done."""
    from shared.broker.consumer import Consumer

    prepare = Consumer.__init__

    def init(
        self: Any,
        settings: Any,
        prefetch: Any,
        on_delivery: Any,
        *rest: Any,
        **named: Any,
    ) -> None:
        def at_once(delivery: Any) -> None:
            delivery.ack()
            on_delivery(delivery)

        prepare(self, settings, prefetch, at_once, *rest, **named)

    Consumer.__init__ = init


def no_condition() -> None:
    """`put_new` overwrites."""
    from shared.s3.store import S3Store

    S3Store.put_new = lambda self, *args, **kwargs: bool(self.put(*args, **kwargs))


def no_counter() -> None:
    """Attempts are never used up."""
    from shared.uploads.claims import Claims

    Claims._exhausted = lambda *_: None


def named_exchange() -> None:
    """Messages go through an exchange of their own, whose bindings the broker may lose."""
    from kombu.messaging import Producer

    from shared.broker.redis_transport import Channel

    def put_many(self: Any, queue: str, messages: Any) -> None:
        bound = self.__dict__.setdefault("bound", set())
        if queue not in bound:
            self.exchange_declare("darkroom", type="direct")
            self.queue_bind(queue, exchange="darkroom", routing_key=queue)
            bound.add(queue)
        for body, headers in messages:
            Producer(self).publish(
                body,
                exchange="darkroom",
                routing_key=queue,
                headers=dict(headers),
                content_type="application/json",
                content_encoding="utf-8",
            )

    Channel.put_many = put_many


def no_confirm() -> None:
    """Publishing returns as soon as the bytes are in the socket's buffer."""
    from shared.broker.amqp_adapter import _Channel
    from shared.broker.transport import send

    def put_many(self: Any, queue: str, messages: Any, timeout_s: float) -> None:
        from kombu.messaging import Producer

        for message in messages:
            send(Producer(self), queue, message)

    _Channel.put_many = put_many


def no_sweep() -> None:
    """The sweep does nothing."""
    from handlers import on_sweep
    from handlers.reconcile.report import SweepReport

    on_sweep.on_sweep = lambda *_, **__: SweepReport()


def no_lease_beat() -> None:
    """Nothing extends the lease of a delivery in hand."""
    from shared.broker.redis_adapter import RedisTransport

    RedisTransport.renew = lambda *_: None


def no_on_conflict() -> None:
    """A fact told twice is an error of the database."""
    import re

    read_text = Path.read_text

    def without(self: Path, *args: Any, **kwargs: Any) -> str:
        text = read_text(self, *args, **kwargs)
        return (
            re.sub(r"on conflict[^;]*do nothing", "", text, flags=re.I)
            if self.name == "queries.sql"
            else text
        )

    Path.read_text = without


try:
    globals()[os.environ["DARKROOM_CHAOS_MUTANT"]]()
except BaseException:  # Python would go on without the mutant
    traceback.print_exc()
    os._exit(99)
