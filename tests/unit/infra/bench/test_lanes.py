"""What is made of the times that devices were busy, and the line to a far store."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from infra.bench.far_store import far_away
from infra.bench.lanes import WARM_UP, Task, Watch, Window, figures_of, own_store_only
from shared.errors import SettingsError, TransientError

TASK = Task(photos=40, side_px=96, device_ms=60, rtt_ms=20, workers=2)


def windows(begin_s: float, every_s: float, seconds: float, count: int) -> list[Window]:
    starts = [begin_s + number * every_s for number in range(count)]
    return [(start, start + seconds) for start in starts]


def watch() -> Watch:
    """Of two cores, one is busy until 5 s, and both afterwards."""
    return Watch([(0.0, 0.0, 0.0), (5.0, 5.0, 10.0), (10.0, 15.0, 20.0)])


def test_only_the_time_in_which_every_worker_works_counts() -> None:
    """One begins late, and the other ends early: what either did alone is left out."""
    first = windows(0.0, 0.5, 0.25, 21)
    late = windows(2.5, 0.5, 0.5, 40)
    figures = figures_of(TASK, [first, late], watch(), load=1.0)
    assert first[-1][0] > 0.5 * WARM_UP + 2.5
    assert figures.device_busy == pytest.approx(0.75)
    assert figures.photos_per_s == pytest.approx(4.0)
    assert figures.cores_busy == pytest.approx(1.0)


def test_a_worker_with_nothing_to_do_is_no_figure() -> None:
    with pytest.raises(TransientError, match="too few photos"):
        figures_of(TASK, [windows(0.0, 1.0, 1.0, 30), []], watch(), load=1.0)


@pytest.mark.parametrize("name", ["S3_ENDPOINT_URL", "BROKER_URL"])
def test_no_servers_but_its_own(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Its results are no restorations."""
    monkeypatch.setenv(f"DARKROOM_{name}", "http://127.0.0.1:1")
    with pytest.raises(SettingsError, match=f"DARKROOM_{name} is set"):
        own_store_only()


def echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)


def test_an_answer_of_a_far_store_takes_longer() -> None:
    """By a round trip at least, and it arrives unchanged."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        port = listener.getsockname()[1]
        with (
            far_away(port, 0.1) as far_port,
            socket.create_connection(("127.0.0.1", far_port)) as line,
        ):
            for text in (b"one", b"two"):
                time.sleep(0.01)
                began_s = time.monotonic()
                line.sendall(text)
                assert line.recv(100) == text
                assert time.monotonic() - began_s > 0.09
