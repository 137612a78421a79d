"""Decoding in a process of its own: what a hostile photo costs, and what it can reach."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from gpu_worker.codec import Decoder
from shared.errors import Code, PermanentError, TransientError
from shared.runtime.seccomp import can_refuse_calls
from shared.runtime.settings import Settings
from tests.support.codec_samples import quarters, saved
from tests.support.extras import without
from tests.support.waiting import eventually

SETTINGS = Settings(decode_seconds=20)
FILTERED = can_refuse_calls()
SOUND = saved(quarters(), "PNG")
Making = Callable[..., Decoder]


@pytest.fixture(scope="module")
def making() -> Iterator[Making]:
    """Makes decoders whose files may misbehave."""
    made: list[Decoder] = []

    def make(settings: Settings = SETTINGS) -> Decoder:
        made.append(Decoder(settings, "tests.support.hostile_decoder"))
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


@pytest.fixture(scope="module")
def decoder(making: Making) -> Decoder:
    return making()


def refused(decoder: Decoder, data: bytes) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        decoder.decode(data, 1000)
    return caught.value


def report_of(decoder: Decoder, act: bytes) -> object:
    """What a hostile file found out in its process and put into its error."""
    error = refused(decoder, act)
    assert error.code is Code.UNSUPPORTED_MODE
    return error.detail


@pytest.mark.parametrize(
    ("act", "signal_name"),
    [
        (b"segv", "SIGSEGV"),
        (b"abort", "SIGABRT"),
        (b"exit", "no answer"),
    ],
)
def test_a_crash_costs_one_photo(
    decoder: Decoder, act: bytes, signal_name: str
) -> None:
    """The photo ends as `decode_error` that names the signal; the next one is decoded
    as if nothing had been.
    """
    error = refused(decoder, act)
    assert error.code is Code.DECODE_ERROR
    assert signal_name in error.detail
    assert decoder.decode(SOUND).width == 24


def test_a_crash_counts_when_it_happens_twice(decoder: Decoder) -> None:
    """Something else may have killed the process: the photo gets one more, and is not
    blamed.
    """
    assert report_of(decoder, b"once") == "'alive'"


def test_a_killed_decoder_points_to_memory(decoder: Decoder) -> None:
    """SIGKILL is how the kernel takes memory back."""
    assert refused(decoder, b"kill").code is Code.OUT_OF_MEMORY


@pytest.mark.parametrize("act", [b"spin", b"sleep"])
def test_time_is_limited(making: Making, act: bytes) -> None:
    """An endless loop and an endless wait end at the limit, in one try; the next photo
    is decoded.
    """
    decoder = making(Settings(decode_seconds=1))
    error = refused(decoder, act)
    assert error.code is Code.DECODE_ERROR
    assert "DARKROOM_DECODE_SECONDS" in error.detail
    decoder._settings = SETTINGS  # a second may be short for a sound photo, too
    assert decoder.decode(SOUND).width == 24


def test_it_has_no_secrets(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the worker reaches it, and no open file but its connection."""
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY", "geheim")
    fresh = Decoder(SETTINGS, "tests.support.hostile_decoder")
    try:
        names = {
            name
            for name in ast.literal_eval(str(report_of(fresh, b"environment")))
            if not name.startswith("MALLOC_")
        }
        assert names <= {
            "PYTHONPATH",
            "OPENBLAS_NUM_THREADS",
            "OMP_NUM_THREADS",
            "LC_CTYPE",
        }
        # three of /dev/null and its connection
        assert report_of(fresh, b"descriptors") == "4"
    finally:
        fresh.close()


def test_it_writes_no_file(decoder: Decoder, tmp_path: Path) -> None:
    """No byte into any file, no core dump either."""
    report = str(report_of(decoder, f"write {tmp_path / 'loot'}".encode()))
    assert "not permitted" in report or "File too large" in report
    assert report_of(decoder, b"limits") == "[(0, 0), (0, 0)]"


def test_it_reaches_nothing(decoder: Decoder, tmp_path: Path) -> None:
    """No socket, program, process, file or signal to others, whoever runs it and
    whatever its kernel lets it leave.
    """
    if not FILTERED:
        without("this system has no filters of calls")
    secret = tmp_path / "secret"
    secret.write_text("geheim")
    assert report_of(decoder, f"reach {secret}".encode()) == repr([errno.EPERM] * 10)
    assert secret.exists()


def test_the_operator_reads_what_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """The network that it says it has left is left; the calls that it says are refused
    are refused, as tested above.
    """
    fresh = Decoder(SETTINGS, "tests.support.hostile_decoder")
    try:
        network = int(str(report_of(fresh, b"network")))
    finally:
        fresh.close()
    (line,) = (
        line
        for line in capsys.readouterr().out.splitlines()
        if "decoder.confined" in line
    )
    assert f"system_calls={FILTERED}" in line
    left = network != Path("/proc/self/ns/net").stat().st_ino
    assert f"network={left}" in line
    assert left or os.geteuid() != 0


def test_it_loads_no_engine_and_no_client(decoder: Decoder) -> None:
    """Nothing but decoders is in the process."""
    loaded = ast.literal_eval(str(report_of(decoder, b"modules")))
    assert "PIL" in loaded
    assert not loaded & {"torch", "ncnn", "boto3", "kombu", "psycopg2", "cv2"}


def test_every_photo_has_a_process_of_its_own(decoder: Decoder) -> None:
    """Nothing of one user's photo can be there when the next one's comes."""
    (one, service), (other, same) = (
        ast.literal_eval(str(report_of(decoder, b"pid"))) for _ in range(2)
    )
    assert one != other
    assert service == same


def test_what_it_says_is_bounded_and_clean(decoder: Decoder) -> None:
    """A sentence with words of the file is cut to a sentence's length and holds no half
    characters.
    """
    detail = str(report_of(decoder, b"surrogate"))
    assert len(detail) <= 2000
    assert detail.encode()


def test_a_service_that_was_killed_is_started_again(making: Making) -> None:
    """Between two photos it goes unnoticed; it was no photo's fault."""
    decoder = making()
    _, service = ast.literal_eval(str(report_of(decoder, b"pid")))
    process = psutil.Process(service)
    process.kill()
    # ours to bury: it does not vanish
    eventually(lambda: process.status() == psutil.STATUS_ZOMBIE, "its end")
    assert decoder.decode(SOUND).width == 24


def names(process: psutil.Process) -> set[str]:
    """The names of a process's children, which may end while they are looked at."""
    found = set()
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            found.add(child.name())
    return found


def test_a_service_killed_under_a_photo_is_started_again(
    making: Making, tmp_path: Path
) -> None:
    """It took the photo's process with it: no fault of the photo, and not its worker's
    second attempt either.
    """
    decoder = making()
    _, service = ast.literal_eval(str(report_of(decoder, b"pid")))
    marker = tmp_path / "marker"
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(report_of, decoder, f"wait {marker}".encode())
        process = psutil.Process(service)
        deadline_s = time.monotonic() + 30
        while "in hand" not in names(process):
            assert time.monotonic() < deadline_s, "the photo was never in hand"
        process.kill()
        marker.touch()
        assert report.result(60) == "'alive'"


def test_a_decoder_that_cannot_start_is_no_fault_of_a_photo() -> None:
    """The photo is tried again later."""
    decoder = Decoder(SETTINGS, "tests.unit.no_such_module")
    with pytest.raises(TransientError, match="decoder"):
        decoder.decode(SOUND)
    decoder.close()


def test_it_ends_with_its_worker(making: Making) -> None:
    """No process is left once the worker's end is closed, however it was closed."""
    decoder = making()
    pids = ast.literal_eval(str(report_of(decoder, b"pid")))
    decoder.close()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


HOLDER = """
import sys
from gpu_worker.codec import Decoder
from shared.runtime.settings import Settings
held = Decoder(Settings())
held.decode(%r)
print(held._service._process.pid, flush=True, file=sys.stderr)
input()
"""


def test_it_dies_with_a_killed_worker() -> None:
    """`kill -9` of the worker leaves no decoder behind."""
    command = [sys.executable, "-c", HOLDER % SOUND]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stderr
        service = psutil.Process(int(worker.stderr.readline()))
        try:
            left = [service, *eventually(service.children, "a decoder of the service")]
        finally:
            worker.kill()
    _, alive = psutil.wait_procs(left, timeout=60)
    assert not alive
