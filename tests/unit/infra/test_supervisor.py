"""The supervisor over small real programs: what is started again and when, how it is
stopped, what is left over.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from infra.local import program as program_module
from infra.local.program import Program, limit_log, tail
from infra.local.seaweedfs import FullDisk
from infra.local.state import Pids, make_folders
from infra.local.supervisor import RESTART, START_TRIES, STEADY_S, Supervisor
from shared.errors import TransientError
from tests.support.fake_clock import FakeClock
from tests.support.waiting import eventually


def ended(pid: int) -> bool:
    """Also while nobody has asked for its exit status yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def shell(
    name: str, script: str, ready: Callable[[], bool] = lambda: True, **options: Any
) -> Program:
    return Program(name, ["sh", "-c", script], ready, **options)


class Supervised:
    """A supervisor in a folder of its own, with time that the test moves."""

    def __init__(self, folder: Path) -> None:
        make_folders(folder)
        self.folder = folder
        self.clock = FakeClock()
        self.supervisor = Supervisor(
            folder,
            dict(os.environ) | {"DARKROOM_FAILPOINT": "worker.before_ack:1"},
            self.clock,
        )

    def log(self, name: str) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def pid(self, name: str) -> int:
        found = Pids(self.folder).alive()
        return found[name].pid if name in found else 0

    def first_life(self, name: str) -> int:
        """Wait until the program has written its line: what is ended before that began
        no life. Returns its pid.
        """
        eventually(lambda: self.log(name), f"life 1 of {name}")
        return self.pid(name)

    def lives(self, name: str, count: int) -> None:
        """Watch until the program, which writes a line in each life, has begun its
        `count`th.
        """

        def begun() -> bool:
            self.clock.advance(RESTART.cap_s)
            self.supervisor.keep_running()
            return self.log(name).count("\n") >= count

        eventually(begun, f"life {count} of {name}")


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    running = Supervised(tmp_path)
    yield running
    running.supervisor.stop()


def test_a_failpoint_fires_once(supervised: Supervised) -> None:
    """Killed by it, a program lives on without it; a program that ends by itself (for
    one, refusing it) keeps it.
    """
    supervised.supervisor.start(
        [
            shell(
                "killed",
                'echo "<$DARKROOM_FAILPOINT>"; [ -z "$DARKROOM_FAILPOINT" ] && sleep 600; kill -9 $$',
            ),
            shell("refuses", 'echo "<$DARKROOM_FAILPOINT>"; exit 2'),
        ]
    )
    supervised.lives("killed", 2)
    supervised.lives("refuses", 3)
    assert supervised.log("killed") == "<worker.before_ack:1>\n<>\n"
    assert set(supervised.log("refuses").split()) == {"<worker.before_ack:1>"}


def test_deaths_in_a_row_wait_longer_and_a_long_life_is_forgiven(
    supervised: Supervised,
) -> None:
    """The wait doubles with each death, up to the cap; after a steady life it begins
    again at the base.
    """
    supervised.supervisor.start([shell("restless", "read _")])
    (child,) = supervised.supervisor._children

    def dies_after(life_s: float) -> float:
        # stdin is empty: `read` returns at once
        eventually(lambda: child.pid is None, "its end")
        supervised.clock.advance(life_s)
        assert not child.keep_running()
        wait_s = (child._due_s or 0.0) - supervised.clock.monotonic()
        supervised.clock.advance(wait_s - 0.01)
        assert not child.keep_running()
        supervised.clock.advance(0.02)
        assert child.keep_running()
        return wait_s

    waits = [dies_after(0.1) for _ in range(4)]
    for number, wait_s in enumerate(waits):
        assert RESTART.base_s * 2**number / 2 <= wait_s <= RESTART.base_s * 2**number
    assert dies_after(STEADY_S + 1) <= RESTART.base_s


def test_a_program_with_a_fault_is_started_again(supervised: Supervised) -> None:
    """What it will not get over by itself ends it once; the next life goes on."""
    faults = ["the disk was full"]
    supervised.supervisor.start(
        [
            shell(
                "store",
                "echo begun; exec sleep 600",
                fault=lambda: faults.pop() if faults else "",
            )
        ]
    )
    supervised.first_life("store")
    supervised.lives("store", 2)
    assert not faults


def test_a_full_disk_does_not_stop_the_supervisor(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pids that find no room are written later; nothing that runs is ended for it, and
    what died is started.
    """
    supervised.supervisor.start([shell("server", "echo begun; exec sleep 600")])
    first = supervised.first_life("server")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("infra.local.state.write_private", full)
        os.kill(first, signal.SIGKILL)
        supervised.lives("server", 2)
    eventually(
        lambda: (
            supervised.supervisor.keep_running()
            or supervised.pid("server") not in (0, first)
        ),
        "its pid",
    )


def test_a_full_disk_is_a_fault_when_it_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's log says that a write found no room; told once, and not while there
    is none.
    """
    log, disk = tmp_path / "seaweedfs.log", SimpleNamespace(free=0)
    log.write_text("no space left on device, in an earlier life\n")
    monkeypatch.setattr("infra.local.seaweedfs.shutil.disk_usage", lambda _: disk)
    fault = FullDisk(log, tmp_path)
    assert fault() == ""
    with log.open("a") as file:
        file.write("write 000001.log: no space left on device\n")
    assert fault() == ""
    disk.free = 1 << 30
    assert "full" in fault()
    assert fault() == ""


def test_a_program_that_never_lives_fails_the_start(supervised: Supervised) -> None:
    """The error says which, how often, and in its own words why."""
    supervised.supervisor.start(
        [shell("broken", "echo no such file; exit 1", ready=lambda: False)]
    )
    with pytest.raises(
        TransientError, match=f"broken died {START_TRIES} times"
    ) as caught:
        supervised.supervisor.wait_ready(1e6, lambda: False)
    assert "no such file" in caught.value.detail


def test_a_program_that_is_never_ready_fails_the_start(supervised: Supervised) -> None:
    """The limit ends the wait; told to stop, it ends at once and without an error."""
    supervised.supervisor.start([shell("slow", "sleep 600", ready=lambda: False)])
    supervised.supervisor.wait_ready(30, lambda: True)
    with pytest.raises(TransientError, match="slow was not ready within 30 s"):
        supervised.supervisor.wait_ready(30, lambda: False)


def test_the_last_group_is_stopped_first(
    supervised: Supervised, tmp_path: Path
) -> None:
    """Servers are asked to stop when nobody writes to them any more; each by its own
    signal.
    """
    order = tmp_path / "order"
    trap = 'trap "sleep {s}; echo {n} >> {o}; exit" {signal}; touch {o}.{n}; while :; do sleep 0.05; done'
    # Not SIGINT: a shell cannot trap what was ignored when it started, as in a
    # background job of a script.
    for name, seconds, signum in (("server", 0, "USR1"), ("process", 0.3, "TERM")):
        script = trap.format(s=seconds, n=name, o=order, signal=signum)
        supervised.supervisor.start(
            [
                shell(
                    name, script, stop_signal=getattr(signal, f"SIG{signum}"), stop_s=60
                )
            ]
        )
        eventually((tmp_path / f"order.{name}").exists, f"the trap of {name}")
    supervised.supervisor.stop()
    assert order.read_text().split() == ["process", "server"]


def test_what_does_not_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    """After the grace the program goes, and nothing of it remains; nothing is recorded
    as running.
    """
    supervised = Supervised(tmp_path)
    script = f'trap "" TERM; sleep 600 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/parent; wait; sleep 600'
    supervised.supervisor.start([shell("stubborn", script, stop_s=0.1)])
    parent = tmp_path / "parent"
    eventually(
        lambda: parent.exists() and parent.read_text().endswith("\n"),
        "the program's pid",
    )
    supervised.supervisor.stop()
    for name in ("parent", "child"):
        pid = int((tmp_path / name).read_text())
        eventually(lambda pid=pid: ended(pid), f"the end of the {name}")  # type: ignore[misc]
    assert Pids(tmp_path).alive() == {}


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="the kernel of this system knows no parent-death signal",
)
def test_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    """`kill -9` leaves a supervisor no time for anything; the kernel stops its
    children.
    """
    source = f"""
import os, time
from pathlib import Path
from infra.local.program import Program
from infra.local.state import make_folders
from infra.local.supervisor import Supervisor
from shared.s3.clock import SystemClock
folder = Path({str(tmp_path)!r})
make_folders(folder)
Supervisor(folder, dict(os.environ), SystemClock()).start([Program("child", ["sleep", "600"], lambda: True)])
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", source])
    try:
        child = eventually(lambda: Pids(tmp_path).alive().get("child"), "the child")
    finally:
        parent.kill()
        parent.wait()
    eventually(lambda: ended(child.pid), "its end")


def test_leftovers_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    """A recorded pid is ours only if its process began when ours did."""
    make_folders(tmp_path)
    ours, stranger = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    try:
        pids = Pids(tmp_path)
        pids.write({"ours": ours.pid, "stranger": stranger.pid})
        path = tmp_path / "run" / "pids.json"
        entries = json.loads(path.read_text())
        entries["stranger"]["started"] -= 3600
        path.write_text(json.dumps(entries))
        assert pids.end_all() == ["ours"]
        assert not psutil.pid_exists(ours.pid)
        assert stranger.poll() is None
    finally:
        for process in (ours, stranger):
            process.kill()
            process.wait()


def test_a_long_log_is_moved_aside_under_its_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer goes on at the beginning of the same file; one older part is kept."""
    monkeypatch.setattr(program_module, "MAX_LOG_BYTES", 10)
    log = tmp_path / "a.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"eleven bytes")
        limit_log(log)
        writer.write(b"new")
        limit_log(log)
    assert (log.read_bytes(), (tmp_path / "a.log.1").read_bytes()) == (
        b"new",
        b"eleven bytes",
    )


def test_the_end_of_a_log_is_of_this_life(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("earlier\n")
    before = log.stat().st_size
    log.write_text("earlier\nnow\n")
    assert tail(log, since=before) == "now"
