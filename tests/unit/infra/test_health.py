"""`darkroom health`: what a container's health check sees. Connections are real ones in
tests/contract and system.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
import typer
from prometheus_client import CollectorRegistry, Info
from pydantic import SecretStr

from infra.commands import health
from infra.local.figures import device_of, read
from shared.runtime import operations
from shared.runtime.heartbeat import Heartbeat, fault_file
from shared.runtime.settings import Settings


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The ports that this container is connected to."""
    ports: set[int] = set()
    monkeypatch.setattr(health, "connected", ports.__contains__)
    return ports


def settings(tmp_path: Path, broker: str = "amqp://u:p@broker:5672//") -> Settings:
    return Settings(ready_file=tmp_path / "ready", broker_url=SecretStr(broker))


@pytest.mark.parametrize("process", ["worker", "recorder", "callbacks", "sweep"])
def test_a_process_is_not_well_before_it_is_ready(
    tmp_path: Path, linked: set[int], process: str
) -> None:
    """It says so itself, by touching its file."""
    linked.add(5672)
    assert health.check(settings(tmp_path), process) == "not ready yet"
    (tmp_path / "ready").touch()
    assert health.check(settings(tmp_path), process) == ""


@pytest.mark.parametrize("process", ["worker", "recorder", "callbacks"])
def test_a_consumer_without_its_broker_is_not_well(
    tmp_path: Path, linked: set[int], process: str
) -> None:
    """Once ready is not enough: a consumer that lost its connection does nothing."""
    (tmp_path / "ready").touch()
    assert health.check(settings(tmp_path), process) == "no connection to the broker"


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("amqp://u:p@broker//", 5672),
        ("amqps://u:p@broker:5999//", 5999),
        ("redis://127.0.0.1/0", 6379),
        ("sqs://", 443),
    ],
)
def test_the_port_follows_the_url(
    tmp_path: Path, linked: set[int], url: str, port: int
) -> None:
    """An explicit port, or the scheme's own."""
    (tmp_path / "ready").touch()
    linked.add(port)
    assert health.check(settings(tmp_path, url), "worker") == ""


def test_an_unknown_process_is_wrong_usage(tmp_path: Path) -> None:
    """Not a process that is unwell."""
    with pytest.raises(
        typer.BadParameter,
        match="handlers, worker, recorder, callbacks, sweep and backup",
    ):
        health.check(settings(tmp_path), "nobody")


@pytest.mark.parametrize(
    "process", ["handlers", "worker", "recorder", "callbacks", "sweep"]
)
def test_a_process_that_ceased_to_beat_is_not_well(
    tmp_path: Path, linked: set[int], process: str
) -> None:
    """Its own words, if it could still say; a connection or an open door alone proves
    nothing.
    """
    linked.add(5672)
    ready = tmp_path / "ready"
    ready.touch()
    os.utime(ready, (time.time() - 100,) * 2)
    assert re.fullmatch(
        r"stuck for [1-9]\d\d s: no sign of life",
        health.check(settings(tmp_path), process),
    )
    fault_file(ready).write_text("device: no sign of life for 700 s")
    assert "device: no sign of life for 700 s" in health.check(
        settings(tmp_path), process
    )


def test_a_worker_says_what_it_computes_on(tmp_path: Path) -> None:
    """By its figures; other processes, and those that do not answer, say nothing."""
    registry = CollectorRegistry()
    about = Info("darkroom_worker", "as the worker has it", registry=registry)
    uuid = "GPU-01234567-89ab"
    about.info({"engine": "torch", "device": 'a "card"', "uuid": uuid})
    ready = tmp_path / "ready"
    of_worker = Settings(ready_file=ready, metrics_port=0)
    beats = Heartbeat(of_worker, {})
    operations.start(of_worker, beats, registry, dict)
    assert device_of(read(ready.read_text())) == 'a "card" GPU-01234567'
    registry.unregister(about)
    assert device_of(read(ready.read_text())) == ""
    beats.stop()
    assert read("http://127.0.0.1:1") == []
    assert read("") == []
