"""The sweep process: quick looks at tries that are due and at new uploads, all the
time, and now and then a whole pass.

A look at new uploads lists `uploads` alone, every `sweep_interval_s`, or as long apart
as it takes. A pass lists every object, so the pause grows with what it took: passes
rest four fifths of the time. `python -m handlers sweep [--once [--since ISO]
[--dry-run] [--json]]`.
"""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from handlers import metrics
from handlers.audit_log.database import Logbook
from handlers.context import Context
from handlers.on_sweep import Memory, on_sweep
from handlers.processes.heartbeat_store import PATIENCE_S, watched
from handlers.reconcile.arrivals import Arrivals
from handlers.reconcile.due_retries import Calls
from shared.errors import TransientError
from shared.runtime import operations
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

LOOK_S = 2.0
REST = 4.0
"""Pause after a pass, in times of what it took."""


class Loop:
    """One of the loops of the process. `well`: whether its last round succeeded."""

    def __init__(self, ctx: Context, beside: Loop | None = None) -> None:
        self.pulse, self.well = Pulse(ctx.clock.monotonic), True
        self.ctx = replace(ctx, store=watched(ctx.store, self.pulse))
        self.calls: Calls = Calls(
            self.ctx, self.pulse, beside.calls if beside else None
        )

    def begin(
        self,
        name: str,
        work: Callable[[], float],
        pause_s: Callable[[float], float],
        stop: threading.Event,
    ) -> threading.Thread:
        """`run` on a thread of its own."""
        thread = threading.Thread(
            target=self.run, args=(work, pause_s, stop), name=name, daemon=True
        )
        thread.start()
        return thread

    def run(
        self,
        work: Callable[[], float],
        pause_s: Callable[[float], float],
        stop: threading.Event,
    ) -> None:
        """Until `stop`. Whatever goes wrong is logged, and tried again after the pause."""
        result = 0.0
        while not stop.is_set():
            self.pulse.beat()
            try:
                result = work()
                self.well = True
            except Exception as error:
                self.well = False
                known = isinstance(error, TransientError)
                told = str(error) if known else type(error).__name__
                logger().error(
                    "sweep.failed",
                    delay_s=pause_s(result),
                    detail=told,
                    exc_info=None if known else error,
                )
            self.pulse.rest()
            stop.wait(pause_s(result))


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Entry point of the process; SIGTERM and SIGINT end it. Raises what a single pass
    (`--once`) raised.
    """
    options = _parser().parse_args(arguments)
    ctx, diary = (
        Context.of(settings),
        Logbook(settings) if settings.database_url.get_secret_value() else None,
    )
    if not options.once:
        _forever(ctx, diary)
        return 0
    report = on_sweep(ctx, options.since, options.dry_run, diary=diary)
    print(report.model_dump_json() if options.json else _lines(report.model_dump()))
    return 0


def _forever(ctx: Context, diary: Logbook | None) -> None:
    settings, stop = ctx.settings, threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    looks = Loop(ctx)
    passes, news = Loop(ctx, beside=looks), Loop(ctx, beside=looks)
    _beat(settings, {"pass": passes, "calls": looks, "arrivals": news})
    logger().info("process.started")
    memory, figures = Memory(calls=passes.calls), metrics.SweepFigures()
    arrivals, interval_s = Arrivals(news.ctx), settings.sweep_interval_s

    def one_look() -> float:
        look = arrivals.look()
        figures.looked(look)
        return look.seconds

    looking = [
        looks.begin(
            "calls", looks.calls.call_due, lambda _: min(LOOK_S, interval_s), stop
        ),
        news.begin("arrivals", one_look, lambda took_s: max(interval_s, took_s), stop),
    ]

    def one_pass() -> float:
        report = on_sweep(passes.ctx, diary=diary, memory=memory)
        figures.passed(report, ctx.clock.now().timestamp())
        return report.seconds

    passes.run(one_pass, lambda took_s: max(interval_s, REST * took_s), stop)
    for thread in looking:
        thread.join()
    logger().info("process.stopped")


def _beat(settings: Settings, loops: Mapping[str, Loop]) -> None:
    metrics.REGISTRY.register(metrics.QueueDepths(settings))
    parts = {name: loop.pulse.quiet_s for name, loop in loops.items()}
    heartbeat = Heartbeat(settings, parts, dict.fromkeys(parts, PATIENCE_S))
    operations.start(
        settings,
        heartbeat,
        metrics.REGISTRY,
        lambda: {name: loop.well for name, loop in loops.items()},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m handlers sweep")
    parser.add_argument("--once", action="store_true", help="one pass, then leave")
    parser.add_argument(
        "--since",
        type=_moment,
        help="look only at what is younger (ISO 8601, UTC without a zone)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="change nothing, count what would be done",
    )
    parser.add_argument(
        "--json", action="store_true", help="print nothing but one JSON object"
    )
    return parser


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _lines(counts: dict[str, object]) -> str:
    return "\n".join(f"{name:16} {value}" for name, value in counts.items())
