"""Loaded networks, a bounded number of them."""

from __future__ import annotations

import weakref

import pytest
from structlog.testing import capture_logs

from gpu_worker.engines import cache as caches
from gpu_worker.engines.cache import ModelCache


def test_a_network_is_loaded_once() -> None:
    """Until it is let go."""
    cache: ModelCache[str] = ModelCache(1)
    loads: list[str] = []
    for name in ("a", "a", "b", "a"):
        cache.get(name, lambda name=name: loads.append(name) or name)  # type: ignore[misc]
    assert loads == ["a", "b", "a"]


def test_the_one_used_longest_ago_goes_first() -> None:
    """Not the one loaded first."""
    cache: ModelCache[str] = ModelCache(2)
    loads: list[str] = []
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name, lambda name=name: loads.append(name) or name)  # type: ignore[misc]
    assert loads == ["a", "b", "c", "b"]


def test_a_load_that_fails_leaves_the_cache_as_it_was() -> None:
    """The next use of the others finds them."""
    cache: ModelCache[str] = ModelCache(1)
    cache.get("a", lambda: "a")
    with pytest.raises(OSError, match="gone"):
        cache.get("b", lambda: (_ for _ in ()).throw(OSError("gone")))
    assert cache.get("a", lambda: "loaded again") == "a"


class Weights:
    """Stands for a network: it can be seen to go."""


def test_memory_is_given_back_when_all_are_unloaded() -> None:
    """The device's, too, of every cache of the process; what is needed again is read
    again.
    """
    released: list[str] = []
    cache: ModelCache[Weights] = ModelCache(
        2, "card", lambda: released.append("device")
    )
    seen = [weakref.ref(cache.get(name, Weights)) for name in ("a", "b")]
    with capture_logs() as logs:
        assert {"a", "b"} <= set(caches.unload())
    assert [ref() for ref in seen] == [None, None]
    assert released == ["device"]
    told = [line for line in logs if line.get("device") == "card"]
    assert [(line["event"], line["model"], line["reason"]) for line in told] == [
        ("model.unloaded", "a", "idle"),
        ("model.unloaded", "b", "idle"),
    ]
    loads: list[str] = []
    cache.get("a", lambda: loads.append("a") or Weights())  # type: ignore[func-returns-value]
    assert loads == ["a"]


def test_what_makes_room_gives_its_memory_back_at_once() -> None:
    """And both are told: what came, and what went."""
    released: list[str] = []
    cache: ModelCache[str] = ModelCache(1, "card", lambda: released.append("device"))
    with capture_logs() as logs:
        for name in ("a", "b"):
            cache.get(name, lambda name=name: name)  # type: ignore[misc]
    assert [(line["event"], line["model"]) for line in logs] == [
        ("model.loaded", "a"),
        ("model.loaded", "b"),
        ("model.unloaded", "a"),
    ]
    assert released == ["device"]
