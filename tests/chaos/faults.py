"""The faults, one function each: what stands before `yield` is prepared, what follows
runs while photos are uploaded.

A fault that could not be made raises `NotInjectedError`. After it, whatever it held is
let go again.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import redis

from shared.broker import dead_letters, topology
from shared.broker.publisher import Publisher
from shared.errors import BrokerUnavailable, StorageUnavailable
from shared.uploads import keys
from tests.chaos.runs import Deed, now
from tests.chaos.world import WORKERS, NotInjectedError, World, until

Fault = Callable[[World, random.Random], Iterator[None]]
WORKER_NAMES = [f"worker-{n}" for n in range(1, WORKERS + 1)]
FIRED_S = 120.0
BALLAST = "ballast"


def kill_worker(world: World, rng: random.Random) -> Iterator[None]:
    """SIGKILL at a random moment while photos are in hand."""
    yield
    # Nothing in hand, or a store that still suffers from the fault before: an idle
    # worker dies, too.
    with suppress(NotInjectedError, StorageUnavailable):
        until(
            lambda: next(
                world.store.list(world.settings.bucket_results, keys.claims()), None
            ),
            "a claim",
            2,
        )
    time.sleep(rng.uniform(0, 0.2))
    _kill(world, rng.choice(WORKER_NAMES))


def kill_handlers(world: World, rng: random.Random) -> Iterator[None]:
    yield
    time.sleep(rng.uniform(0, 0.5))
    _kill(world, "handlers")


def kill_recorder(world: World, rng: random.Random) -> Iterator[None]:
    yield
    time.sleep(rng.uniform(0, 0.5))
    _kill(world, "recorder")


def kill_sweep(world: World, rng: random.Random) -> Iterator[None]:
    yield
    time.sleep(rng.uniform(0, 2))
    _kill(world, "sweep")


def fail_worker(point: str) -> Fault:
    """The worker kills itself at `point`; the other one is frozen meanwhile, and may
    come back to work it lost.
    """

    def fault(world: World, rng: random.Random) -> Iterator[None]:
        armed, other = rng.sample(WORKER_NAMES, 2)
        process = world.arm(armed, f"worker.{point}:1")
        with _frozen(world, other):
            yield
            _fires(world, process)

    return fault


def fail_handlers(point: str) -> Fault:
    """The sweep is frozen meanwhile: it would take in what the handlers should."""

    def fault(world: World, _: random.Random) -> Iterator[None]:
        process = world.arm("handlers", f"handler.{point}:1")
        with _frozen(world, "sweep"):
            yield
            _fires(world, process)

    return fault


def fail_recorder(point: str) -> Fault:
    def fault(world: World, _: random.Random) -> Iterator[None]:
        process = world.arm("recorder", f"recorder.{point}:1")
        yield
        _fires(world, process)

    return fault


def fail_sweep(world: World, _: random.Random) -> Iterator[None]:
    """Killed as it publishes what was lost: notifications are dropped, so that it finds
    something.
    """
    world.relay.treat("drop", 50)
    process = world.arm("sweep", "sweep.before_publish:1")
    yield
    try:
        _fires(world, process)
    finally:
        world.relay.calm()


def freeze_worker(world: World, _: random.Random) -> Iterator[None]:
    """Stopped for two leases with photos in hand; then it goes on as if nothing had
    been.
    """
    yield
    with _frozen(world, WORKER_NAMES[0]):
        time.sleep(2 * world.settings.lease_s)


def deploy(world: World, rng: random.Random) -> Iterator[None]:
    """SIGTERM: the photo in hand is finished or handed back."""
    yield
    name = rng.choice([*WORKER_NAMES, "handlers", "recorder", "sweep"])
    world.next_life(name, world.send(name, signal.SIGTERM))


def restart_broker(world: World, rng: random.Random) -> Iterator[None]:
    yield
    time.sleep(rng.uniform(0, 0.5))
    _kill(world, "valkey")


def freeze_broker(world: World, rng: random.Random) -> Iterator[None]:
    yield
    with _frozen(world, "valkey"):
        time.sleep(rng.uniform(1, 6))


def wipe_broker(world: World, rng: random.Random) -> Iterator[None]:
    """All that it held is gone, while everybody stays connected."""
    yield
    time.sleep(rng.uniform(0, 0.5))
    url = world.settings.broker_url.get_secret_value()
    until(partial(_is_wiped, redis.Redis.from_url(url)), "a wiped broker", FIRED_S)


def _is_wiped(broker: redis.Redis) -> bool:
    """False while the broker is still starting, after a fault before this one."""
    try:
        return bool(broker.flushall())
    except redis.ConnectionError:
        return False


def restart_database(world: World, rng: random.Random) -> Iterator[None]:
    yield
    time.sleep(rng.uniform(0, 0.5))
    _kill(world, "postgres")


def freeze_database(world: World, rng: random.Random) -> Iterator[None]:
    yield
    with _frozen(world, "postgres"):
        time.sleep(rng.uniform(2, 8))


def drop_notifications(world: World, _: random.Random) -> Iterator[None]:
    yield from _treated(world, "drop")


def repeat_notifications(world: World, _: random.Random) -> Iterator[None]:
    yield from _treated(world, "repeat")


def delay_notifications(world: World, _: random.Random) -> Iterator[None]:
    yield from _treated(world, "delay")


def slow_store(world: World, rng: random.Random) -> Iterator[None]:
    """It runs a tenth of the time."""
    yield
    end_s = time.monotonic() + rng.uniform(2, 5)
    while time.monotonic() < end_s:
        with _frozen(world, "seaweedfs"):
            time.sleep(0.18)
        time.sleep(0.02)


def restart_store(world: World, rng: random.Random) -> Iterator[None]:
    """SIGKILL; SeaweedFS answers again after some twenty seconds."""
    yield
    time.sleep(rng.uniform(0, 0.5))
    _kill(world, "seaweedfs")


def fill_disk(world: World, rng: random.Random) -> Iterator[None]:
    """Not one free byte under store, broker, database and logs (but the workers'), for
    some seconds.
    """
    yield
    since = now()
    ballast = world.folder / BALLAST
    try:
        with ballast.open("wb") as file:
            _fill(file.fileno())
        if _free(world.folder) > 1 << 16:
            raise NotInjectedError("the disk could not be filled")
        time.sleep(rng.uniform(1, 4))
    finally:
        ballast.unlink()
        world.store_away(since)


def send_garbage(world: World, rng: random.Random) -> Iterator[None]:
    """Messages that nobody can read: set aside, their bytes kept."""
    yield
    mark = rng.randbytes(8).hex()
    sent = {
        (queue, body.encode())
        for queue in (
            topology.BULK,
            topology.INTERACTIVE,
            topology.PREVIEW,
            topology.LOG,
            topology.UPLOADS,
        )
        for body in (
            f"not JSON {mark}",
            f'{{"v": 99, "mark": "{mark}"}}',
            f'"{mark * 8000}"',
        )
    }
    with closing(Publisher(world.settings)) as publisher:
        for queue, body in sorted(sent):
            until(
                partial(_is_published, publisher, queue, body),
                f"garbage in {queue}",
                FIRED_S,
            )
    until(
        lambda: sent <= _letters(world),
        "every unreadable message in a dead queue",
        FIRED_S,
    )


def _is_published(publisher: Publisher, queue: str, body: bytes) -> bool:
    """False while the broker is still starting, after a fault before this one."""
    try:
        publisher.publish(queue, body)
    except BrokerUnavailable:
        return False
    return True


def crash_all(world: World, rng: random.Random) -> Iterator[None]:
    """The host loses its power: every process at once, then a new start."""
    yield
    time.sleep(rng.uniform(0, 0.5))
    world.crash()
    world.start()


ALWAYS: dict[str, tuple[int, Fault]] = {
    "kill worker": (6, kill_worker),
    "kill handlers": (3, kill_handlers),
    "kill recorder": (3, kill_recorder),
    "kill sweep": (2, kill_sweep),
    **{
        f"worker.{point}": (2, fail_worker(point))
        for point in (
            "after_claim",
            "after_inference",
            "after_result",
            "after_record",
            "before_ack",
        )
    },
    **{
        f"handler.{point}": (1, fail_handlers(point))
        for point in ("before_receipt", "before_publish", "after_publish")
    },
    **{
        f"recorder.{point}": (1, fail_recorder(point))
        for point in ("before_commit", "after_commit")
    },
    "sweep.before_publish": (1, fail_sweep),
    "freeze worker": (1, freeze_worker),
    "deploy": (2, deploy),
    "restart broker": (3, restart_broker),
    "freeze broker": (2, freeze_broker),
    "wipe broker": (3, wipe_broker),
    "restart database": (2, restart_database),
    "freeze database": (2, freeze_database),
    "drop notifications": (4, drop_notifications),
    "repeat notifications": (3, repeat_notifications),
    "delay notifications": (3, delay_notifications),
    "slow store": (3, slow_store),
    "garbage messages": (2, send_garbage),
}
"""Name → how often beside the others, and the fault."""
LONG: dict[str, tuple[int, Fault]] = {
    "restart store": (1, restart_store),
    "crash of everything": (1, crash_all),
}
"""Those after which the store is away for half a minute."""
ENDING = ("kill ", "worker.", "handler.", "recorder.", "sweep.", "deploy", "crash ")
"""How the names of faults begin after which a process of ours is another one."""
ON_OWN_DISK: dict[str, tuple[int, Fault]] = {"full disk": (2, fill_disk)}
"""Only where the state has a disk of its own: nobody else's is filled."""


def _kill(world: World, name: str) -> None:
    world.next_life(name, world.send(name, signal.SIGKILL))


def _fires(world: World, process: psutil.Process) -> None:
    """Its failpoint kills the process."""
    try:
        process.wait(FIRED_S)
        world.deeds.append(Deed("kill", process.pid, now(), now()))
    except psutil.TimeoutExpired:
        raise NotInjectedError("the failpoint was not passed") from None


@contextmanager
def _frozen(world: World, name: str) -> Iterator[None]:
    since = now()
    process = world.send(name, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()
        world.deeds.append(
            Deed(
                "outage" if name == "seaweedfs" else "freeze", process.pid, since, now()
            )
        )


def _treated(world: World, mood: str) -> Iterator[None]:
    before = world.relay.done[mood]
    world.relay.treat(mood, 4)  # type: ignore[arg-type]
    yield
    until(lambda: world.relay.done[mood] > before, f"a notification to {mood}", FIRED_S)


def _letters(world: World) -> set[tuple[str, bytes]]:
    try:
        return {
            (letter.queue, letter.body)
            for letter in dead_letters.letters(world.settings)
        }
    except BrokerUnavailable:
        return set()


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _fill(file: int) -> None:
    for size in (1 << 24, 1 << 16, 1 << 12):
        with suppress(OSError):
            while True:
                os.write(file, b"\0" * size)
