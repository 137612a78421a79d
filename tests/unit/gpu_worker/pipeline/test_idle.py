"""A worker without work gives its models' memory back, once in every pause."""

from __future__ import annotations

from gpu_worker.pipeline.idle import IdleUnloader
from shared.runtime.settings import Settings
from tests.support.fake_clock import FakeClock


class World:
    """A worker whose work and clock the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.has_work = False
        self.unloads = 0
        self.unloader = IdleUnloader(
            Settings(idle_unload_s=60), self.clock, lambda: self.has_work, self._unload
        )

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
