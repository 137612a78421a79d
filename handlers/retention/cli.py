"""`python -m handlers retention [--dry-run] [--lifecycle] [--json]`: one run of the
rules, now.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import closing

from handlers.audit_log.database import AuditLog
from handlers.context import Context
from handlers.retention.forgetting import Forgetting
from handlers.retention.lifecycle import lifecycle
from handlers.retention.report import RetentionReport
from handlers.retention.rules import Rules
from shared.errors import SettingsError
from shared.runtime.settings import Settings


def main(settings: Settings, arguments: Sequence[str] = ()) -> int:
    """Raises `SettingsError` for rules that cannot be read, or that there are none."""
    options = _parser().parse_args(arguments)
    rules = Rules.read(settings.retention_rules)
    if options.lifecycle:
        print(json.dumps(lifecycle(rules, settings), indent=2))
        return 0
    if not rules.rule:
        raise SettingsError(
            "there is no rule, so nothing is deleted; name a file of rules by DARKROOM_RETENTION_RULES"
        )
    report = forget(Context.of(settings), rules, dry_run=options.dry_run)
    print(report.model_dump_json() if options.json else _table(report))
    return 0


def forget(
    ctx: Context,
    rules: Rules,
    *,
    dry_run: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> RetentionReport:
    """One run, with the audit log where there is one. Raises like `Forgetting.run`."""
    has_database = bool(ctx.settings.database_url.get_secret_value())
    with closing(AuditLog(ctx.settings)) as audit_log:
        log = audit_log if has_database else None
        return Forgetting(ctx, rules, log, dry_run=dry_run, beat=beat).run()


def _table(report: RetentionReport) -> str:
    verb = "would be deleted" if report.dry_run else "deleted"
    lines = [
        f"{what:11} {count} {verb}, {report.bytes[what]:,} bytes"
        for what, count in report.deleted.items()
    ]
    for what, reasons in report.kept.items():
        lines += [f"{what:11} {count} kept: {why}" for why, count in reasons.items()]
    lines += [f"{what:11} more is left for the next run" for what in report.left]
    if report.failed:
        lines.append(f"{report.failed} objects met a fault; the log names them")
    return "\n".join(lines) or "nothing is old enough"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m handlers retention")
    for option in ("--dry-run", "--lifecycle", "--json"):
        parser.add_argument(option, action="store_true")
    return parser
