"""A consumer process for tests to kill: `python -m tests.support.holder URL QUEUE
LEASE_S PREFETCH [SKEW_S]`.

Prints each body it is handed and settles nothing. With SKEW_S its wall clock is wrong
by that much.
"""

from __future__ import annotations

import sys
import threading
import time
import types

from shared.broker.consumer import Consumer
from shared.runtime.settings import Settings
from shared.runtime.telemetry import configure


def main(url: str, queue: str, lease_s: str, prefetch: str, skew_s: str = "0") -> None:
    if float(skew_s):
        _skew(float(skew_s))
    settings = Settings(broker_url=url, lease_s=float(lease_s), log_level="error")
    configure(settings, "holder")
    Consumer(
        settings, {queue: int(prefetch)}, lambda d: print(d.body.decode(), flush=True)
    ).run(threading.Event())


def _skew(seconds: float) -> None:
    """Wherever a module holds the wall clock, as `time.time` or by its own name for it."""
    true = time.time

    def wrong() -> float:
        return true() + seconds

    time.time = wrong
    for module in [m for m in sys.modules.values() if isinstance(m, types.ModuleType)]:
        for name, value in list(vars(module).items()):
            if value is true:
                setattr(module, name, wrong)


if __name__ == "__main__":
    main(*sys.argv[1:])
