"""One worker a device, on a machine whose two devices are stand-ins."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest

from gpu_worker import device
from shared.errors import SettingsError
from shared.runtime import devices
from shared.runtime.devices import Device
from shared.runtime.settings import Settings

HOLDER = """
import sys
from gpu_worker import device
from shared.runtime.devices import Device
assert device._hold(Device(sys.argv[1], "card"))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Device]]:
    """Two devices that no other test knows; what this process takes is free again
    afterwards.
    """
    found = [Device(f"GPU-{uuid4()}", f"card {number}") for number in range(2)]
    monkeypatch.setattr(devices, "listed", lambda: found)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    held: list[socket.socket] = []
    monkeypatch.setattr(device, "_held", held)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    yield found
    for hold in held:
        hold.close()


def test_each_worker_takes_the_next_free_device(cards: list[Device]) -> None:
    """And sees no other: whatever computes in it computes there."""
    assert device.take(Settings()) == cards[0]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == cards[0].uuid
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"  # the next worker's
    assert device.take(Settings()) == cards[1]
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    with pytest.raises(SettingsError, match=r"another worker has card 0 .*, card 1 "):
        device.take(Settings())


def test_a_device_that_was_asked_for_is_not_replaced(cards: list[Device]) -> None:
    """The second worker that names it ends with the way out."""
    wanted = Settings(device="cuda:1")
    assert device.take(wanted) == cards[1]
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    with pytest.raises(SettingsError, match=r"cuda:1: another worker has card 1 .*cpu"):
        device.take(wanted)


def test_a_device_is_free_when_its_worker_was_killed(cards: list[Device]) -> None:
    """Nothing of it is left, whatever the end was."""
    command = [sys.executable, "-c", HOLDER, cards[0].uuid]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert not device._hold(cards[0])
        holder.kill()
        holder.wait()
    assert device._hold(cards[0])


def test_a_device_that_is_not_there_is_told(cards: list[Device]) -> None:
    with pytest.raises(
        SettingsError, match=r"cuda:2: .* no such device; 2 are visible"
    ):
        device.take(Settings(device="cuda:2"))


def test_a_worker_of_the_cpu_sees_no_device(cards: list[Device]) -> None:
    assert device.take(Settings(device="cpu")) is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_bench_shares_the_device_of_a_worker(cards: list[Device]) -> None:
    """It measures where its user says, or where CUDA would."""
    device.show(Settings())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert device.take(Settings(device="cuda:1")) == cards[1]
    os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"
    device.show(Settings(device="cuda:1"))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == cards[1].uuid
