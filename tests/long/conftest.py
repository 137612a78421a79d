"""The brokers of the contract, for what takes them minutes."""

from __future__ import annotations

from tests.contract.conftest import broker, brokers, hasty, queue, settings, valkey

__all__ = ["broker", "brokers", "hasty", "queue", "settings", "valkey"]
