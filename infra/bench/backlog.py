"""`bench backlog`: what a long queue does to the memory of the processes beside it.

A publisher puts restore tasks and their log events into the broker while a consumer,
which holds all it may hold, does nothing; then it works them off without restoring
anything. The recorder is the real one. Where the broker keeps its queues in memory, it
grows: that is its job, and its row is there to see.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psutil

from infra.bench.figures import Figures, show
from infra.bench.quiet import quiet
from infra.bench.records import lives
from shared.broker import topology
from shared.broker.consumer import Consumer, Delivery
from shared.broker.depth import Backlog
from shared.broker.depth import backlog as unsettled
from shared.broker.publisher import BATCH, Publisher
from shared.runtime.settings import BrokerSettings, Settings
from shared.uploads.messages import RestoreTask

PREFETCH = 3
SAMPLE_S = 0.05
START_S = 60.0
LIMIT_S = 300.0
MB = 1_000_000
NONE = Backlog(0, 0)


class Memory:
    """Resident memory of some processes [bytes], sampled all the while."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.before = self._now()
        self.peak = dict(self.before)
        self.after: dict[str, int] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.after = self._now()

    def rows(self) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "before MB": round(before / MB, 1),
                "peak MB": round(self.peak[name] / MB, 1),
                "after MB": round(self.after[name] / MB, 1),
                "moved MB": round((self.peak[name] - before) / MB, 1),
            }
            for name, before in self.before.items()
        }

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(SAMPLE_S):
            for name, rss in self._now().items():
                self.peak[name] = max(self.peak[name], rss)

    def _now(self) -> dict[str, int]:
        return {
            name: process.memory_info().rss for name, process in self._processes.items()
        }


def run(settings: Settings, messages: int, as_json: bool) -> int:
    """Measure, and print the figures; the exit status."""
    quiet(settings)
    measured = measure(settings, messages)
    numbers = {"messages": messages}
    return show("backlog", numbers, measured, as_json)


def measure(settings: Settings, messages: int) -> dict[str, Figures]:
    """`messages` restore tasks, and as many log events. Raises `TimeoutError` if they
    are not worked off.
    """
    context = multiprocessing.get_context("spawn")
    publish, consume, done = context.Event(), context.Event(), context.Event()
    warmed = context.Barrier(3)
    with ExitStack() as stack:
        recorder = stack.enter_context(_recorder(settings))
        publisher = context.Process(
            target=publishing,
            args=(settings, messages, warmed, publish, done),
            daemon=True,
        )
        consumer = context.Process(
            target=consuming,
            args=(settings, messages, warmed, consume, done),
            daemon=True,
        )
        for process in (publisher, consumer):
            process.start()
            stack.callback(process.kill)
        warmed.wait(START_S)
        _until(
            lambda: unsettled(settings)[topology.LOG] == NONE,
            "the first log events are written",
        )
        pids = {
            "publisher": publisher.pid or 0,
            "consumer": consumer.pid or 0,
            "recorder": recorder,
        }
        memory = Memory(pids | _broker(settings))
        with memory.watched():
            published_s = _phase(publisher, publish, done)
            _until(
                lambda: unsettled(settings)[topology.LOG] == NONE,
                "all log events are written",
            )
            consumed_s = _phase(consumer, consume, done)
    rows = memory.rows()
    rows["publisher"]["messages/s"] = 2 * messages / published_s
    rows["consumer"]["messages/s"] = messages / consumed_s
    return dict(rows)


def publishing(
    settings: Settings,
    messages: int,
    warmed: Any,
    go: Event,
    done: Event,
) -> None:
    """The publisher's process: what an upload's decision publishes, `messages` times."""
    quiet(settings)
    publisher = Publisher(settings)
    _publish(publisher, PREFETCH)
    warmed.wait(START_S)
    go.wait(LIMIT_S)
    for first in range(0, messages, BATCH):
        _publish(publisher, min(BATCH, messages - first))
    done.set()
    threading.Event().wait()  # its memory is looked at until the end


def _publish(publisher: Publisher, count: int) -> None:
    now = datetime.now(UTC)
    tasks = (
        RestoreTask(
            task_id=str(uuid4()), upload_id=str(uuid4()), priority="bulk", queued_at=now
        )
        for _ in range(count)
    )
    publisher.publish_many(topology.BULK, (task.encode() for task in tasks))
    publisher.publish_many(topology.LOG, (event.encode() for event in lives(count)))


def consuming(
    settings: Settings,
    messages: int,
    warmed: Any,
    go: Event,
    done: Event,
) -> None:
    """The worker's place: takes what it may hold, and after the signal settles it
    without work.
    """
    quiet(settings)
    inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
    consumer = Consumer(settings, dict.fromkeys(topology.RESTORE, PREFETCH), inbox.put)
    threading.Thread(
        target=consumer.run, args=(threading.Event(),), daemon=True
    ).start()
    held = [inbox.get(timeout=START_S) for _ in range(PREFETCH)]
    warmed.wait(START_S)
    go.wait(LIMIT_S)
    for _ in range(PREFETCH + messages):
        delivery = held.pop() if held else inbox.get(timeout=LIMIT_S)
        RestoreTask.decode(delivery.body)
        delivery.ack()
    done.set()
    threading.Event().wait()


@contextmanager
def _recorder(settings: Settings) -> Iterator[int]:
    """The recorder's process; its id."""
    command = [sys.executable, "-P", "-m", "handlers", "recorder"]
    environment = os.environ | settings.variables(exclude={"ready_file", "failpoint"})
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _broker(settings: BrokerSettings) -> dict[str, int]:
    """The broker's process, if it is on this machine and may be looked at."""
    port = urlsplit(settings.broker_url.get_secret_value()).port
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr.port == port
                and connection.pid
            ):
                return {"broker": connection.pid}
    return {}


def _phase(process: SpawnProcess, go: Event, done: Event) -> float:
    """Seconds from the word to the end."""
    done.clear()
    began_s = time.perf_counter()
    go.set()
    while not done.wait(SAMPLE_S):
        if process.exitcode is not None or time.perf_counter() - began_s > LIMIT_S:
            raise TimeoutError(f"not done within {LIMIT_S:g} s, or its process died")
    return time.perf_counter() - began_s


def _until(true: Callable[[], bool], what: str) -> None:
    ends_s = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > ends_s:
            raise TimeoutError(f"not within {LIMIT_S:g} s: {what}")
        time.sleep(SAMPLE_S)
