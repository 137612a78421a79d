"""The brokers that the suite runs over. Each is started once, when the first test needs
it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import count
from uuid import uuid4

import pytest

from handlers.audit_log.database import AuditLog
from infra.bootstrap import bootstrap
from infra.local.stack import Stack
from shared.runtime.settings import Settings
from shared.s3 import client, http
from shared.s3.store import ObjectStore, S3Store
from tests.support.admin import as_admin
from tests.support.brokers import BROKERS, Broker, Valkey
from tests.support.ceph import Ceph, missing
from tests.support.databases import database
from tests.support.memory_store import MemoryStore

_numbers = count(1)

BUCKET = "uploads"
"""Where the suite of the store puts things."""


@pytest.fixture(scope="module")
def url(servers: Stack) -> Iterator[str]:
    """The address of a log database of this module's own, migrated."""
    with database(servers.settings) as made:
        yield made


@pytest.fixture
def audit_log(url: str) -> Iterator[AuditLog]:
    book = AuditLog(Settings(database_url=url))
    yield book
    book.close()


def _missing(what: str) -> None:
    """A newcomer's machine may lack a server; the one that decides what is merged may
    not.
    """
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is not installed")


@pytest.fixture(scope="session")
def brokers() -> Iterator[Callable[[str], Broker]]:
    """Those that run, by the scheme of their URLs: each is started when it is asked for
    first.
    """
    with ExitStack() as ends:

        @cache
        def running(scheme: str) -> Broker:
            broker = BROKERS[scheme]()
            ends.callback(broker.stop)
            broker.start()
            return broker

        yield running


@pytest.fixture(scope="session", params=BROKERS)
def broker(request: pytest.FixtureRequest, brokers: Callable[[str], Broker]) -> Broker:
    """One that goes on for the files after this."""
    if without := BROKERS[request.param].missing():
        _missing(without)
    return brokers(request.param)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """For what only this transport promises."""
    running = Valkey()
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue of this test's own, and two more by its name."""
    name = f"darkroom.test.{next(_numbers)}"
    if "broker" in request.fixturenames:
        for made in (name, f"{name}.bulk", f"{name}.interactive"):
            request.getfixturevalue("broker").create(made)
    return name


@pytest.fixture
def settings(broker: Broker) -> Settings:
    """Patient, as the tests share their machine; those that wait for the end of it have
    less.
    """
    return Settings(broker_url=broker.url, publish_timeout_s=120)


@pytest.fixture
def hasty(settings: Settings) -> Settings:
    """Whose publishers give up after 4 s."""
    return settings.model_copy(update={"publish_timeout_s": 4})


@pytest.fixture(scope="session")
def ceph() -> Iterator[Settings]:
    """A second S3 server, with the buckets; its settings."""
    if without := missing():
        _missing(
            f"Ceph ({', '.join(without)}: apt-get install radosgw ceph-mon ceph-osd)"
        )
    running = Ceph()
    try:
        running.start()
        bootstrap(running.settings)
        yield running.settings
    finally:
        running.stop()


@pytest.fixture(params=["memory", "seaweedfs", "ceph"])
def store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    # Beside everything else that a machine does, a server was silent for half a minute:
    # what is asked here is what it answers, not how soon.
    monkeypatch.setattr(http, "READ_S", 180.0)
    monkeypatch.setattr(client, "READ_S", 180.0)
    if request.param == "ceph":
        return S3Store(request.getfixturevalue("ceph"))
    return S3Store(as_admin(request.getfixturevalue("servers").settings))


@pytest.fixture
def prefix(store: ObjectStore) -> Iterator[str]:
    """A place of this test's own; emptied afterwards."""
    place = f"contract/{uuid4()}/"
    yield place
    for info in store.list(BUCKET, place):
        store.delete(BUCKET, info.key)
