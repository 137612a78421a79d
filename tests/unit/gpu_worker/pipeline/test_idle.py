"""A worker without work gives its models' memory back, or leaves, once in every pause."""

from __future__ import annotations

import threading

from gpu_worker.pipeline.idle import WhenIdle
from tests.support.fake_clock import FakeClock


class World:
    """A worker whose work and clock the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.has_work = False
        self.unloads = 0
        self.unloader = self.when_idle(60)

    def when_idle(self, limit_s: float) -> WhenIdle:
        return WhenIdle(limit_s, self.clock, lambda: self.has_work, self._unload)

    def _unload(self) -> None:
        self.unloads += 1

    def after(self, seconds: float) -> int:
        """How often it has unloaded, seen `seconds` later."""
        self.clock.advance(seconds)
        self.unloader.look()
        return self.unloads


def test_models_go_once_the_pause_is_long_enough() -> None:
    world = World()
    assert [world.after(seconds) for seconds in (0, 59, 2, 60)] == [0, 0, 1, 1]


def test_a_photo_begins_the_pause_anew() -> None:
    world = World()
    world.after(0)
    world.has_work = True
    assert world.after(300) == 0
    world.has_work = False
    assert [world.after(seconds) for seconds in (1, 59, 1)] == [0, 0, 1]
    world.has_work = True
    world.after(1)
    world.has_work = False
    assert [world.after(seconds) for seconds in (1, 61)] == [1, 2]


def test_without_a_limit_nothing_is_done() -> None:
    world = World()
    world.when_idle(0).run(threading.Event())
    assert world.unloads == 0
