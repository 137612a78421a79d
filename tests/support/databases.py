"""A database, and a corner of the broker, of a test's own on the running servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg2
import redis

from infra.migrate import migrate
from shared.runtime.settings import Settings


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The address of a fresh database with Darkroom's tables; dropped afterwards."""
    server = settings.database_url.get_secret_value()
    name = f"test_{uuid4().hex}"
    url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    admin = psycopg2.connect(server)
    admin.autocommit = True
    try:
        admin.cursor().execute(f"CREATE DATABASE {name}")
        migrate(Settings(database_url=url))
        yield url
    finally:
        admin.cursor().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.close()


def corner(settings: Settings) -> str:
    """The address of the running broker's second database, emptied of what the test
    before left there.
    """
    url = urlunsplit(
        urlsplit(settings.broker_url.get_secret_value())._replace(path="/1")
    )
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url
