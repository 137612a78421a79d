"""The sweep process: quick looks at due retries and at new uploads, all the time, and
now and then a whole pass.

A look at new uploads lists `uploads` alone, every `sweep_interval_s`, or as far apart
as it takes. A pass lists every object, so its pause grows with what it took: passes
rest four fifths of the time. `python -m handlers sweep [--once [--since ISO]
[--dry-run] [--json]]`.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.util import find_spec

from handlers.audit_log.database import AuditLog
from handlers.audit_log.old_months import OldMonths
from handlers.context import Context
from handlers.on_sweep import Memory, on_sweep
from handlers.processes.heartbeat_store import MAX_QUIET_S, HeartbeatStore
from handlers.processes.sweep_figures import QueueDepths, SweepFigures
from handlers.reconcile.arrivals import Arrivals
from handlers.reconcile.due_retries import DueRetries
from handlers.reconcile.finished_ingests import tell_finished
from handlers.reconcile.report import SweepReport
from handlers.retention.cli import forget
from handlers.retention.rules import Rules
from shared.errors import SettingsError, TransientError
from shared.runtime import operations
from shared.runtime.heartbeat import Heartbeat, Pulse
from shared.runtime.installation import how_to_add
from shared.runtime.metrics import REGISTRY, DiskSpace
from shared.runtime.settings import Settings
from shared.runtime.signals import on_termination
from shared.runtime.telemetry import logger

RETRY_LOOK_S = 2.0
"""Pause between two looks at due retries, if `sweep_interval_s` is not shorter."""
ARCHIVE_LOOK_S = 3600.0
"""Pause between two looks for months of the log that are to be archived."""
RETENTION_S = 86_400.0
"""Pause between two runs of the rules of retention."""
REST = 4.0
"""Pause after a pass, in times of what it took."""


@dataclass(frozen=True)
class Round:
    """What a loop does again and again.

    `work` returns the seconds it took, and `pause_s` makes of them the pause after it.
    """

    work: Callable[[], float]
    pause_s: Callable[[float], float]


class Loop:
    """One of the loops of the process. `well`: whether its last round succeeded."""

    def __init__(self, ctx: Context, beside: Loop | None = None) -> None:
        self.pulse = Pulse(ctx.clock.monotonic)
        self.well = True
        store = HeartbeatStore(ctx.store, self.pulse)
        self.ctx = replace(ctx, store=store)
        retries_beside = beside.retries if beside else None
        self.retries: DueRetries = DueRetries(self.ctx, self.pulse, retries_beside)

    def start(
        self,
        name: str,
        rounds: Round,
        stop: threading.Event,
    ) -> threading.Thread:
        """Call `run` on a new thread, which is returned."""
        thread = threading.Thread(
            target=self.run, args=(rounds, stop), name=name, daemon=True
        )
        thread.start()
        return thread

    def run(self, rounds: Round, stop: threading.Event) -> None:
        """Work until `stop` is set. An error is logged; the next round tries again."""
        took_s = 0.0
        while not stop.is_set():
            self.pulse.beat()
            try:
                took_s = rounds.work()
                self.well = True
            except Exception as error:
                self.well = False
                _log_failed(error, rounds.pause_s(took_s))
            self.pulse.rest()
            stop.wait(rounds.pause_s(took_s))


def _log_failed(error: Exception, delay_s: float) -> None:
    is_known = isinstance(error, TransientError | SettingsError)
    logger().error(
        "sweep.failed",
        delay_s=delay_s,
        detail=str(error) if is_known else type(error).__name__,
        exc_info=None if is_known else error,
    )


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Run the process until SIGTERM or SIGINT, or one pass with `--once`.

    Raises what a single pass raised.
    """
    options = _parser().parse_args(arguments)
    ctx = Context.of(settings)
    has_database = bool(settings.database_url.get_secret_value())
    audit_log = AuditLog(settings) if has_database else None
    if not options.once:
        _sweep_until_stopped(ctx, audit_log)
        return 0
    report = on_sweep(ctx, options.since, options.dry_run, audit_log=audit_log)
    if audit_log and not options.dry_run:
        tell_finished(ctx, audit_log)
    print(report.model_dump_json(by_alias=True) if options.json else _table(report))
    return 0


def _sweep_until_stopped(ctx: Context, audit_log: AuditLog | None) -> None:
    stop = threading.Event()
    on_termination(stop.set)
    retries = Loop(ctx)
    passes = Loop(ctx, beside=retries)
    arrivals = Loop(ctx, beside=retries)
    loops = {"pass": passes, "calls": retries, "arrivals": arrivals}
    _start_operations(ctx.settings, loops)
    logger().info("process.started")
    figures = SweepFigures()
    threads = [
        retries.start("calls", _retry_rounds(retries), stop),
        arrivals.start("arrivals", _arrival_rounds(arrivals, figures), stop),
    ]
    if audit_log:
        # Not among `loops`: the sweep is well while the database is away.
        ingests = Loop(ctx, beside=retries)
        rounds = _ingest_rounds(ingests, audit_log)
        threads.append(ingests.start("ingests", rounds, stop))
        if find_spec("duckdb"):
            archive = Loop(ctx, beside=retries)
            rounds = _archive_rounds(archive)
            threads.append(archive.start("archive", rounds, stop))
        elif ctx.settings.log_archive_after_days:
            logger().info("log.kept", detail=f"DuckDB is missing; {how_to_add('lake')}")
    if ctx.settings.retention_rules:
        forgetting = Loop(ctx, beside=retries)
        rounds = _retention_rounds(forgetting, figures)
        threads.append(forgetting.start("retention", rounds, stop))
    passes.run(_pass_rounds(passes, audit_log, figures), stop)
    for thread in threads:
        thread.join()
    logger().info("process.stopped")


def _retry_rounds(loop: Loop) -> Round:
    interval_s = loop.ctx.settings.sweep_interval_s
    return Round(loop.retries.publish_due, lambda _: min(RETRY_LOOK_S, interval_s))


def _arrival_rounds(loop: Loop, figures: SweepFigures) -> Round:
    arrivals = Arrivals(loop.ctx)
    interval_s = loop.ctx.settings.sweep_interval_s

    def look() -> float:
        counts = arrivals.look()
        figures.looked(counts)
        return counts.seconds

    return Round(look, lambda took_s: max(interval_s, took_s))


def _ingest_rounds(loop: Loop, audit_log: AuditLog) -> Round:
    interval_s = loop.ctx.settings.sweep_interval_s

    def look() -> float:
        started_s = loop.ctx.clock.monotonic()
        tell_finished(loop.ctx, audit_log)
        return loop.ctx.clock.monotonic() - started_s

    return Round(look, lambda took_s: max(interval_s, REST * took_s))


def _archive_rounds(loop: Loop) -> Round:
    from handlers.log_archive.archiver import Archiver

    months = OldMonths(loop.ctx.settings)
    archiver = Archiver(loop.ctx, months, loop.pulse.beat)

    def archive() -> float:
        started_s = loop.ctx.clock.monotonic()
        archiver.run()
        return loop.ctx.clock.monotonic() - started_s

    return Round(archive, lambda took_s: max(ARCHIVE_LOOK_S, REST * took_s))


def _retention_rounds(loop: Loop, figures: SweepFigures) -> Round:
    def run() -> float:
        started_s = loop.ctx.clock.monotonic()
        # Read anew each time: a hold counts at once, and a fault is told each time.
        rules = Rules.read(loop.ctx.settings.retention_rules)
        figures.forgot(forget(loop.ctx, rules, beat=loop.pulse.beat))
        return loop.ctx.clock.monotonic() - started_s

    return Round(run, lambda took_s: max(RETENTION_S, REST * took_s))


def _pass_rounds(
    loop: Loop,
    audit_log: AuditLog | None,
    figures: SweepFigures,
) -> Round:
    memory = Memory(retries=loop.retries)
    interval_s = loop.ctx.settings.sweep_interval_s

    def sweep() -> float:
        report = on_sweep(loop.ctx, audit_log=audit_log, memory=memory)
        figures.passed(report, loop.ctx.clock.now().timestamp())
        return report.seconds

    return Round(sweep, lambda took_s: max(interval_s, REST * took_s))


def _start_operations(settings: Settings, loops: Mapping[str, Loop]) -> None:
    REGISTRY.register(QueueDepths(settings))
    REGISTRY.register(DiskSpace({"state": settings.state_dir}))
    quiet_s = {name: loop.pulse.quiet_s for name, loop in loops.items()}
    heartbeat = Heartbeat(settings, quiet_s, dict.fromkeys(quiet_s, MAX_QUIET_S))
    operations.start(
        settings,
        heartbeat,
        REGISTRY,
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


def _table(report: SweepReport) -> str:
    lines = (f"{name:16} {value}" for name, value in report.printed().items())
    return "\n".join(lines)
