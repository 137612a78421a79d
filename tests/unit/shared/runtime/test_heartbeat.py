"""Signs of life: a process beats only while each of its loops works, and the supervisor
ends one that does not.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from structlog.testing import capture_logs

from gpu_worker.pipeline import metrics as worker_metrics
from gpu_worker.pipeline.device_metrics import DeviceLoad
from handlers import metrics as handlers_metrics
from handlers.processes.recorder import RecorderFigures
from handlers.processes.sweep_figures import QueueDepths, SweepFigures
from handlers.reconcile.report import SweepReport
from infra.backup.drills import Drills
from infra.backup.process import Figures as BackupFigures
from infra.local.program import Program
from infra.local.supervisor import LOOK_S, Pulse, Supervisor
from shared.runtime import devices, heartbeat, operations
from shared.runtime.heartbeat import QUIET_S, Heartbeat, fault_file, read_fault
from shared.runtime.metrics import METRICS, REGISTRY, DiskSpace
from shared.runtime.settings import Settings
from tests.support.fake_clock import FakeClock
from tests.support.waiting import eventually


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_a_loop_is_quiet_since_its_last_beat_and_never_at_rest(
    clock: FakeClock,
) -> None:
    """Waiting on purpose is no silence, however long."""
    pulse = heartbeat.Pulse(clock.monotonic)
    clock.advance(1000)
    assert pulse.quiet_s() == 0
    pulse.beat()
    clock.advance(7)
    assert pulse.quiet_s() == 7
    pulse.rest()
    clock.advance(1000)
    assert pulse.quiet_s() == 0


def test_who_waits_while_it_works_is_not_quiet_and_works_on_afterwards(
    clock: FakeClock,
) -> None:
    """Waiting inside work, work inside waiting; at the end, and after an error,
    everything is as it was before.
    """
    pulse = heartbeat.Pulse(clock.monotonic)
    with pulse.waiting():
        clock.advance(7)
    assert pulse.quiet_s() == 0
    with suppress(OSError), pulse.working():
        clock.advance(7)
        with pulse.waiting():
            clock.advance(7)
            assert pulse.quiet_s() == 0
            with pulse.working():
                clock.advance(7)
                assert pulse.quiet_s() == 7
            clock.advance(7)
            assert pulse.quiet_s() == 0
        clock.advance(7)
        assert pulse.quiet_s() == 7
        raise OSError
    clock.advance(7)
    assert pulse.quiet_s() == 0


def test_every_thread_has_a_pulse_of_its_own(clock: FakeClock) -> None:
    """What one thread does is no sign of life of another."""
    pulse = heartbeat.Pulse(clock.monotonic)
    heartbeat.give(pulse)
    try:
        with heartbeat.own().working():
            clock.advance(7)
            other = threading.Thread(target=lambda: heartbeat.own().beat())
            other.start()
            other.join()
            assert pulse.quiet_s() == 7
    finally:
        heartbeat.give(heartbeat.Pulse())


def test_one_loop_that_hangs_ends_the_beat(tmp_path: Path, clock: FakeClock) -> None:
    """The file grows old, and a file beside it says which; a loop that goes on makes
    all well again.
    """
    file = tmp_path / "ready"
    pulses = {name: heartbeat.Pulse(clock.monotonic) for name in ("device", "consumer")}
    beats = Heartbeat(
        Settings(ready_file=file),
        {name: pulse.quiet_s for name, pulse in pulses.items()},
        {"device": 600},
    )
    for pulse in pulses.values():
        pulse.beat()
    clock.advance(QUIET_S + 1)
    beats.beat(file)
    assert not file.exists()
    assert (
        read_fault(file)
        == beats.fault()
        == f"consumer: no sign of life for {QUIET_S + 1:.0f} s"
    )
    pulses["consumer"].beat()
    beats.beat(file)
    assert file.exists()
    assert not fault_file(file).exists()
    assert beats.fault() == read_fault(file) == ""


def test_a_beat_comes_again_and_again(tmp_path: Path) -> None:
    """From the start on; nothing touches the file of a process that has stopped."""
    file = tmp_path / "ready"
    beats = Heartbeat(Settings(ready_file=file, beat_timeout_s=1), {})
    beats.start("http://127.0.0.1:1")
    try:
        for _ in range(2):
            os.utime(file, (0, 0))
            eventually(lambda: file.stat().st_mtime > 0, "a beat")
        assert file.read_text() == "http://127.0.0.1:1"
    finally:
        beats.stop()


@pytest.fixture(params=["127.0.0.1", "::1"])
def address(
    tmp_path: Path, clock: FakeClock, request: pytest.FixtureRequest
) -> Iterator[tuple[str, heartbeat.Pulse, dict[str, bool]]]:
    registry = CollectorRegistry()
    Counter("photos", "Photos.", registry=registry).inc(3)
    pulse, state = heartbeat.Pulse(clock.monotonic), {"broker": True}
    settings = Settings(
        ready_file=tmp_path / "ready",
        metrics_port=0,
        metrics_host=request.param,
        api_host="192.0.2.1",
    )
    beats = Heartbeat(settings, {"loop": pulse.quiet_s})
    operations.start(settings, beats, registry, lambda: state)
    yield (tmp_path / "ready").read_text(), pulse, state
    beats.stop()


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_process_answers_on_a_port_for_operators(
    address: tuple[str, heartbeat.Pulse, dict[str, bool]], clock: FakeClock
) -> None:
    """`/healthz` is the beat, `/readyz` what it needs, `/metrics` its figures; its
    address lies in the ready file.
    """
    url, pulse, state = address
    assert ask(f"{url}/metrics")[1].count("photos_total 3.0") == 1
    assert ask(f"{url}/healthz") == (200, '{"status": "ok"}')
    assert ask(f"{url}/readyz") == (200, '{"broker": "ok"}')
    pulse.beat()
    clock.advance(QUIET_S + 5)
    state["broker"] = False
    assert ask(f"{url}/healthz") == (
        503,
        json.dumps({"status": f"loop: no sign of life for {QUIET_S + 5:.0f} s"}),
    )
    assert ask(f"{url}/readyz") == (503, '{"broker": "unavailable"}')
    assert ask(f"{url}/else")[0] == 404


def test_every_metric_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the processes expose is what `shared.runtime.metrics` lists."""
    registry = CollectorRegistry()
    monkeypatch.setattr(devices, "load", lambda device: devices.Load(1, 2, 0.5))
    registry.register(DeviceLoad(devices.Device("GPU-1", "card")))
    registry.register(DiskSpace({"here": tmp_path}))
    BackupFigures(registry)
    Drills(Settings(state_dir=tmp_path), registry)
    RecorderFigures(registry)
    SweepFigures(registry).passed(SweepReport(notifications_missed=2, seconds=1.5), 1e9)
    registry.register(QueueDepths(Settings(broker_url="redis://127.0.0.1:1/0")))  # type: ignore[arg-type]
    assert (
        registry.get_sample_value("darkroom_sweep_found_total", {"kind": "missed"}) == 2
    )
    text = (generate_latest(registry) + generate_latest(REGISTRY)).decode()
    names = {
        line.split()[2]
        for line in text.splitlines()
        if line.startswith("# HELP darkroom_")
    }
    assert names == set(METRICS)
    assert handlers_metrics.UPLOADS
    assert worker_metrics.PHOTOS


def look(pulse: Pulse, clock: FakeClock, seconds: float) -> float:
    """What it says after having been asked every second."""
    silent_s = 0.0
    for _ in range(int(seconds)):
        clock.advance(LOOK_S)
        silent_s = pulse.silent_s()
    return silent_s


def test_silence_is_reckoned_from_what_the_supervisor_saw(
    tmp_path: Path, clock: FakeClock
) -> None:
    """From the start until the first beat, then from beat to beat; a clock that was
    set, or a machine that slept, makes nobody silent, and a file that is taken away is
    no beat.
    """
    file = tmp_path / "ready"
    pulse = Pulse(file, clock)
    assert look(pulse, clock, 50) == 50
    assert not pulse.begun
    file.touch()
    os.utime(file, (0, 0))  # by the calendar, half a century ago
    assert look(pulse, clock, 1) == 0
    assert look(pulse, clock, 20) == 20
    clock.advance(3600)
    assert pulse.silent_s() == 20 + LOOK_S
    file.touch()
    assert look(pulse, clock, 1) == 0
    file.unlink()
    assert look(pulse, clock, 20) == 20
    assert pulse.begun


def test_a_program_that_lives_without_a_beat_is_restarted(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Even one that is stopped; its next life begins without the old file. The log says
    what hung.
    """
    for name in ("logs", "run"):
        (tmp_path / name).mkdir()
    beat = tmp_path / "run" / "p.ready"
    program = Program(
        "p",
        [
            "sh",
            "-c",
            f"[ ! -e {beat} ] && echo new; touch {beat}; kill -STOP $$; sleep 600",
        ],
        beat.exists,
        beat=beat,
        beat_timeout_s=5,
        stop_s=0.1,
    )
    supervisor = Supervisor(tmp_path, dict(os.environ), clock)
    supervisor.start([program])
    try:
        eventually(beat.exists, "the first beat")
        fault_file(beat).write_text("consumer: no sign of life for 61 s")
        with capture_logs() as logs:

            def twice() -> bool:
                clock.advance(LOOK_S)
                supervisor.keep_running()
                return (tmp_path / "logs" / "p.log").read_text() == "new\nnew\n"

            eventually(twice, "another life")
        stuck = next(line for line in logs if line["event"] == "process.stuck")
        assert (stuck["program"], stuck["detail"]) == (
            "p",
            "consumer: no sign of life for 61 s",
        )
        assert stuck["seconds"] > 5
    finally:
        supervisor.stop()


def test_a_program_that_hangs_before_its_first_beat_is_restarted(
    tmp_path: Path, clock: FakeClock
) -> None:
    """After its start's own limit: the beat, and the fault, that an earlier life left
    behind are no signs of this one. A life that begins in time is left alone.
    """
    for name in ("logs", "run"):
        (tmp_path / name).mkdir()
    beat, lives = tmp_path / "run" / "p.ready", tmp_path / "logs" / "p.log"
    script = f"[ -s {lives} ] && touch {beat}; echo life; kill -STOP $$"
    program = Program(
        "p",
        ["sh", "-c", script],
        beat.exists,
        beat=beat,
        beat_timeout_s=60,
        start_timeout_s=90,
    )
    beat.touch()
    os.utime(beat, (0, 0))
    fault_file(beat).write_text("device: no sign of life for 601 s")
    supervisor = Supervisor(tmp_path, dict(os.environ), clock)
    supervisor.start([program])
    try:
        eventually(lambda: lives.exists() and lives.read_text(), "the first life")
        (child,) = supervisor._children
        first = child.pid
        with capture_logs() as logs:
            for _ in range(90):
                clock.advance(LOOK_S)
                supervisor.keep_running()
            assert [line for line in logs if line["event"] == "process.stuck"] == []

            def begun() -> bool:
                # the next life has all the time that its shell needs
                if child.pid in (first, None):
                    clock.advance(LOOK_S)
                supervisor.keep_running()
                return beat.exists()

            eventually(begun, "another life")
        stuck = [
            (line["program"], line["detail"])
            for line in logs
            if line["event"] == "process.stuck"
        ]
        assert stuck == [("p", "no sign of life since its start")]
    finally:
        supervisor.stop()


def test_a_disk_without_room_at_the_start_ends_no_process(tmp_path: Path) -> None:
    """A missing folder stands for the full disk: the address is told once it can be
    written, and not before.
    """
    file = tmp_path / "run" / "ready"
    beats = Heartbeat(Settings(ready_file=file, beat_timeout_s=1), {})
    beats.start("http://127.0.0.1:1")
    try:
        assert not file.exists()
        file.parent.mkdir()
        eventually(
            lambda: file.exists() and file.read_text() == "http://127.0.0.1:1",
            "the address in the file",
        )
    finally:
        beats.stop()
