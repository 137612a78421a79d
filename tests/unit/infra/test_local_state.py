"""What a stack keeps on disk: ports, secrets, its lock; and what it says when it cannot
begin.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from infra.local import postgres
from infra.local.stack import Stack, worker_count
from infra.local.state import PORTS, State, lock, make_folders, write_private
from shared.errors import SettingsError, TransientError
from shared.runtime import devices
from shared.runtime.devices import Device
from shared.runtime.settings import Settings


def test_ports_and_secrets_stay(tmp_path: Path) -> None:
    """A second start has the first one's, readable by nobody else; no port is given
    twice.
    """
    first = State.load(tmp_path)
    assert State.load(tmp_path) == first
    assert len(set(first.ports.values())) == len(PORTS)
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_a_folder_of_an_earlier_release_gets_the_secrets_that_are_new(
    tmp_path: Path,
) -> None:
    """Those that it has stay: clients keep their key."""
    first = State.load(tmp_path)
    old = {
        name: secret
        for name, secret in first.secrets.items()
        if name in ("s3_access_key", "s3_secret_key")
    }
    write_private(
        tmp_path / "state.json", json.dumps({"ports": first.ports, "secrets": old})
    )
    second = State.load(tmp_path)
    assert second.secrets.keys() == first.secrets.keys()
    assert {name: second.secrets[name] for name in old} == old


def test_a_port_taken_by_a_stranger_is_replaced_alone(tmp_path: Path) -> None:
    """The others keep their addresses."""
    first = State.load(tmp_path)
    with socket.create_server(("127.0.0.1", first.ports["s3"])):
        second = State.load(tmp_path)
    assert {name for name in PORTS if first.ports[name] != second.ports[name]} == {"s3"}


def test_two_stacks_have_nothing_in_common(tmp_path: Path) -> None:
    """No secret is a constant."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = State.load(tmp_path / "one"), State.load(tmp_path / "other")
    assert not set(one.secrets.values()) & set(other.secrets.values())


@pytest.mark.parametrize("content", [None, "{half a fi"])
def test_data_without_their_secrets_are_not_touched(
    tmp_path: Path, content: str | None
) -> None:
    """New secrets would lock us out of the old data for good: refused with the way out."""
    (tmp_path / "postgres").mkdir()
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    with pytest.raises(SettingsError, match="put it back"):
        State.load(tmp_path)


def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    """The lock goes with its holder, however that ends."""
    make_folders(tmp_path)
    held = lock(tmp_path)
    with pytest.raises(SettingsError, match="darkroom down"):
        lock(tmp_path)
    held.close()
    lock(tmp_path).close()


def test_a_private_file_is_whole_and_private(tmp_path: Path) -> None:
    """Also over a file that others could read before."""
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_without_room_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that finds no room does not say where."""

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fdopen", full)
    with pytest.raises(OSError, match=r"state\.json"):
        write_private(tmp_path / "state.json", "{}")


def test_a_port_that_was_asked_for_is_not_replaced(tmp_path: Path) -> None:
    """Nothing is started: the setting, the port and the way out are said."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(
            SettingsError, match=f"DARKROOM_API_PORT: {port} .* name another port"
        ):
            Stack(Settings.given(state_dir=tmp_path, api_port=port))


def test_a_stack_tells_its_port_beforehand(tmp_path: Path) -> None:
    """Any port would do for a door alone; the store must know where its notifications
    go.
    """
    with pytest.raises(
        SettingsError, match=r"DARKROOM_API_PORT: 0 .* or none for a free one"
    ):
        Stack(Settings.given(state_dir=tmp_path, api_port=0))


def test_a_database_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of `initdb`, not its command line."""
    make_folders(tmp_path)
    initdb = tmp_path / "initdb"
    initdb.write_text("#!/bin/sh\necho no space left\nexit 1\n")
    initdb.chmod(0o755)
    monkeypatch.setattr(postgres, "binaries", lambda: tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    state = State.load(tmp_path)
    with pytest.raises(
        TransientError, match=r"postgres\.log ends with:\nno space left"
    ):
        postgres.postgres(state, Settings.given(state_dir=tmp_path))


@pytest.mark.parametrize(
    ("cards", "asked", "count"),
    [(0, None, 1), (0, 3, 3), (2, None, 2), (2, 1, 1), (2, 2, 2)],
)
def test_a_stack_has_one_worker_a_device(
    monkeypatch: pytest.MonkeyPatch, cards: int, asked: int | None, count: int
) -> None:
    """`--workers auto` is None; the CPU takes as many as are asked for."""
    found = [Device(f"GPU-{number}", "card") for number in range(cards)]
    monkeypatch.setattr(devices, "usable", lambda settings: found)
    assert worker_count(Settings(), asked) == count


def test_a_device_gets_no_second_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out is named before anything starts."""
    monkeypatch.setattr(devices, "usable", lambda settings: [Device("GPU-1", "card")])
    with pytest.raises(
        SettingsError, match=r"--workers 2: .* finds 1; ask for `--work"
    ):
        worker_count(Settings(), 2)
