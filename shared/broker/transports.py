"""Chooses the adapter by the scheme of the broker's URL, and imports no other."""
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from shared.broker.schemes import SCHEMES
from shared.broker.transport import Transport
from shared.errors import BrokerUnavailable, SettingsError
from shared.runtime.settings import BrokerSettings


@contextmanager
def connected(settings: BrokerSettings) -> Iterator[tuple[Transport, Any]]:
    """A transport, and a channel on a connection that ends with the block.

    Raises `BrokerUnavailable`.
    """
    chosen = transport(settings)
    try:
        connection = chosen.open(consuming=False)
        try:
            yield chosen, connection.channel()
        finally:
            connection.release()
    except chosen.errors as error:
        raise BrokerUnavailable(f"{type(error).__name__}: {error}") from error


def transport(settings: BrokerSettings) -> Transport:
    """The transport of `DARKROOM_BROKER_URL`. Raises `SettingsError` for a scheme that
    is not known.
    """
    name = urlsplit(settings.broker_url.get_secret_value()).scheme
    if name not in SCHEMES:
        raise SettingsError(
            f"DARKROOM_BROKER_URL: scheme {name!r} is not one of {', '.join(SCHEMES)}"
        )
    scheme = SCHEMES[name]
    module = import_module(f"shared.broker.{scheme.module}")
    chosen: Transport = getattr(module, scheme.transport)(settings)
    return chosen
