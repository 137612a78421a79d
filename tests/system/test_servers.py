"""The embedded servers under their supervisor: what is left after a crash, a restart,
beside a neighbour.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import kombu
import psycopg2
import pytest
from kombu.exceptions import OperationalError

from infra.bootstrap import bootstrap
from infra.migrate import MIGRATIONS, migrate, migrations
from shared.errors import PermanentError
from shared.runtime.settings import STACK_FILE, Settings
from shared.s3.store import S3Store
from tests.support.running_servers import (
    PROGRAM,
    Running,
    execute,
    listening,
    read,
    survivors,
    write,
)
from tests.support.waiting import eventually


@pytest.fixture
def run(state_dir: Callable[[str], Path]) -> Iterator[Callable[..., Running]]:
    """Starts servers, by name in the same folder again; whatever still runs at the end
    is stopped.
    """
    started: list[Running] = []
    home = state_dir("run")

    def start(name: str = "state", **environment: str) -> Running:
        started.append(Running(home / name, **environment).start())
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.stop()


@pytest.fixture(scope="module")
def steady(state_dir: Callable[[str], Path]) -> Iterator[Running]:
    """One set of servers for the tests that leave it as it was."""
    running = Running(state_dir("steady")).start()
    yield running
    running.stop()


def test_data_outlive_an_end_and_addresses_stay(run: Callable[..., Running]) -> None:
    """After SIGTERM nothing runs on; the next start has the same ports, secrets and
    data. So has the one after `kill -9` of the supervisor, and every old process is
    gone.
    """
    first = run()
    write(first.settings, "before")
    family = first.family()
    assert first.stop() == 0
    eventually(lambda: not survivors(family), "the end of every process")
    again = run()
    assert again.settings == first.settings
    assert read(again.settings) == ["before"] * 3
    write(again.settings, "before")
    family = again.family()
    again.stop(signal.SIGKILL)
    third = run()
    eventually(lambda: not survivors(family), "the end of every process")
    assert third.settings == first.settings
    assert read(third.settings) == ["before"] * 3


@pytest.mark.parametrize("name", ["weed", "valkey", "postgres"])
def test_a_server_that_dies_is_started_again(steady: Running, name: str) -> None:
    """SIGKILL of any server: it is back at the same address with what it had
    acknowledged.
    """
    write(steady.settings, "before")
    died = steady.server(name)
    died.kill()

    def back() -> bool:
        try:
            return (
                steady.server(name).pid != died.pid
                and read(steady.settings) == ["before"] * 3
            )
        except Exception:  # whatever its client raises while it is away
            return False

    eventually(back, f"{name} with its data", 180)


def test_a_second_stack_in_the_same_folder_is_refused(steady: Running) -> None:
    """One state directory belongs to one supervisor; the refusal names the way out and
    changes nothing.
    """
    before = steady.servers()
    env = os.environ | {"DARKROOM_STATE_DIR": str(steady.folder)}
    second = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode != 0
    assert "already running" in second.stderr
    assert "darkroom down" in second.stderr
    assert steady.servers() == before


def test_two_stacks_live_side_by_side(
    steady: Running, run: Callable[..., Running]
) -> None:
    """Different folders: no shared port, no shared fact."""
    other = run("other")
    write(steady.settings, "one")
    write(other.settings, "other")
    assert read(steady.settings) == ["one"] * 3
    assert read(other.settings) == ["other"] * 3
    assert not listening(steady.family()) & listening(other.family())


def test_only_the_loopback_interface_is_listened_on(steady: Running) -> None:
    """Every TCP port of every process, the servers' internal ones included."""
    assert len(listening(steady.family())) >= 10
    assert {ip for ip, _ in listening(steady.family())} == {"127.0.0.1"}


def test_no_door_opens_without_its_secret(steady: Running) -> None:
    """Other people on this machine read and write nothing: not by S3, not past it, not
    in broker or database.
    """
    settings = steady.settings
    S3Store(settings).put(
        settings.bucket_uploads, "private.jpg", b"private", "image/jpeg"
    )
    ports = steady.ports()
    for door in ("s3", "volume", "filer"):
        for path in ("/uploads/private.jpg", "/buckets/uploads/private.jpg"):
            for method in ("GET", "PUT"):
                answer = httpx.request(
                    method, f"http://127.0.0.1:{ports[door]}{path}", content=b"x"
                )
                assert not answer.is_success, f"{method} {path} at {door}"
    assert S3Store(settings).read(settings.bucket_uploads, "private.jpg") == b"private"
    for url in (settings.broker_url, settings.database_url):
        parts = urlsplit(url.get_secret_value())
        without = parts._replace(
            netloc=f"{parts.username or ''}:wrong@{parts.hostname}:{parts.port}"
        ).geturl()
        with pytest.raises(
            (psycopg2.OperationalError, OperationalError), match=r"(?i)password|auth"
        ):
            connect(without)


def connect(url: str) -> None:
    if url.startswith("redis"):
        with kombu.Connection(url) as connection:
            connection.default_channel.client.ping()
    else:
        psycopg2.connect(url)


def test_secrets_are_readable_by_their_owner_alone(steady: Running) -> None:
    """No file that holds a secret gives any right to group or others, and none is told
    in a command line.
    """
    secrets = {
        steady.settings.s3_secret_key,
        steady.settings.broker_url,
        steady.settings.database_url,
        steady.settings.webhook_token,
        steady.settings.pepper,
        steady.settings.api_key,
    }
    words = {
        urlsplit(s.get_secret_value()).password or s.get_secret_value() for s in secrets
    }
    holding = []
    for path in steady.folder.rglob("*"):
        with suppress(FileNotFoundError):  # the servers' own come and go
            if path.is_file() and any(
                word.encode() in path.read_bytes() for word in words
            ):
                holding.append(path.name)
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert STACK_FILE in holding
    assert not any(
        word in " ".join(process.cmdline())
        for process in steady.servers()
        for word in words
    )


def test_what_the_environment_says_holds_for_the_whole_stack(
    steady: Running, run: Callable[..., Running]
) -> None:
    """A key or limit set for `up` is the one that servers, processes and clients use;
    for `DARKROOM_BROKER_URL` there is no broker of ours, and the stack's file names
    theirs.
    """
    url = steady.settings.broker_url.get_secret_value()
    ours = run(
        "ours",
        DARKROOM_BROKER_URL=url,
        DARKROOM_S3_ACCESS_KEY="chosen",
        DARKROOM_S3_SECRET_KEY="chosen-secret",
        DARKROOM_LEASE_S="7",
    )
    assert not any("valkey" in process.exe() for process in ours.servers())
    assert ours.settings.broker_url.get_secret_value() == url
    assert ours.settings.s3_secret_key.get_secret_value() == "chosen-secret"
    assert ours.settings.lease_s == 7
    S3Store(ours.settings).put("uploads", "a.txt", b"a", "text/plain")


def test_what_a_stack_told_its_clients_names_no_server_of_somebody_else(
    run: Callable[..., Running],
) -> None:
    """`up` in a shell with the lines of `darkroom env`, or some of them: the same
    servers again, also where a port had to change.
    """
    running = run()
    write(running.settings, "before")
    for told in ({"broker_url", "database_url", "api_url", "api_key"}, {"api_url"}):
        told_as = {
            name: value
            for name, value in running.settings.variables().items()
            if name[9:].lower() in told
        }
        assert len(told_as) == len(told)
        ports = running.ports()
        running.stop()
        with (
            socket.create_server(("127.0.0.1", ports["valkey"])),
            socket.create_server(("127.0.0.1", ports["api"])),
        ):
            running = run(**told_as)
        settings = Settings.load(state_dir=running.folder)
        assert read(settings) == ["before"] * 3
        assert settings.api_url == f"http://127.0.0.1:{running.ports()['api']}"
        assert running.ports()["api"] != ports["api"]
        write(settings, "before")


def test_preparing_what_is_prepared_changes_nothing(steady: Running) -> None:
    """`up` has made buckets and schema; doing it again finds nothing to do."""
    assert bootstrap(steady.settings) == []
    assert migrate(steady.settings) == []


def test_an_edited_migration_is_refused(steady: Running, tmp_path: Path) -> None:
    """What was applied is history: a change to its file is named, and nothing after it
    is applied.
    """
    parts = urlsplit(steady.settings.database_url.get_secret_value())
    connection = psycopg2.connect(parts.geturl())
    connection.autocommit = True
    connection.cursor().execute("create database edited")
    connection.close()
    settings = Settings.given(database_url=parts._replace(path="/edited").geturl())
    (tmp_path / "0001_first.sql").write_text("create table darkroom.first (id int)")
    assert migrate(settings, tmp_path) == ["0001_first"]
    (tmp_path / "0001_first.sql").write_text("create table darkroom.first (id bigint)")
    (tmp_path / "0002_second.sql").write_text("create table darkroom.second (id int)")
    with pytest.raises(PermanentError, match="0001_first was edited"):
        migrate(settings, tmp_path)
    assert execute(settings, "select to_regclass('darkroom.second')") is None


def test_a_migration_that_fails_leaves_nothing(steady: Running, tmp_path: Path) -> None:
    """All that is missing is applied, or none of it."""
    number = len(migrations()) + 1
    for name in sorted(MIGRATIONS.glob("*.sql")):
        (tmp_path / name.name).write_text(name.read_text())
    (tmp_path / f"{number:04d}_good.sql").write_text(
        "create table darkroom.good (id int)"
    )
    (tmp_path / f"{number + 1:04d}_bad.sql").write_text(
        "create table darkroom.bad (id nosuchtype)"
    )
    with pytest.raises(PermanentError, match=r"_bad failed(?s:.)*nosuchtype"):
        migrate(steady.settings, tmp_path)
    assert execute(steady.settings, "select to_regclass('darkroom.good')") is None
    assert migrate(steady.settings) == []
