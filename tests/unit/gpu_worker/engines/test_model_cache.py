"""Loaded networks, a bounded number of them."""

from __future__ import annotations

import pytest

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
