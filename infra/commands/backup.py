"""`darkroom backup`, `darkroom restore`."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from infra import bootstrap, migrate
from infra.backup import prune as pruning
from infra.backup import restore as filling
from infra.backup.index import Index, held
from infra.backup.rebuild import rebuild
from infra.backup.run import Report, back_up
from infra.backup.sealed import draw_key, key_file
from infra.backup.vault import Vault, vault_of
from infra.backup.verify import verified
from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers
from infra.local.state import State
from infra.terminal import shown
from shared.errors import SettingsError
from shared.runtime import telemetry
from shared.runtime.settings import Settings

app = typer.Typer(add_completion=False)
console = Console(stderr=True, highlight=False)
SERVERS = {"s3_endpoint_url", "s3_access_key", "database_url"}

FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        help="The backup: a folder or s3://bucket/prefix; without it DARKROOM_BACKUP_URL.",
    ),
]


@app.command()
def backup(
    full: Annotated[
        bool, typer.Option("--full", help="Write a full manifest, not what changed.")
    ] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go on: what is new is copied within a minute."),
    ] = False,
    forever: Annotated[
        bool,
        typer.Option(
            "--forever", help="Go on as a process, every DARKROOM_BACKUP_INTERVAL_S."
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Read the whole backup, and compare every checksum."
        ),
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Delete what no state of the last days needs, erased photos too.",
        ),
    ] = False,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="For --prune: how many days; without it DARKROOM_BACKUP_KEEP_DAYS.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="For --prune: say it, and delete nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy what is new of photos, results, log, models, settings and secrets."""
    if follow or forever:
        _become_process("follow" if follow else "")
    if verify:
        _verify(Settings.load(), as_json)
        return
    if prune:
        _prune(Settings.load(), keep_days, dry_run, as_json)
        return
    settings = need_servers()
    _need_key(settings)
    with console.status("backing up") as line:
        report = back_up(settings, full, said=lambda part: line.update(part))
    if as_json:
        print(json.dumps(report.printed()))
    else:
        _print_backup(settings, report)
    if report.findings:
        raise typer.Exit(1)


def say_drawn_key(settings: Settings) -> None:
    """Draw the key of the backup's secrets where there is none, and say so."""
    if file := draw_key(settings):
        console.print(
            f"Drew the key of the backup, [bold]{file}[/]: keep a copy on another machine."
        )


def _need_key(settings: Settings) -> None:
    """A stack that was not to back up by itself has no key yet. Servers elsewhere have
    their secrets elsewhere.
    """
    if State.known(settings.state_dir.expanduser().resolve()):
        say_drawn_key(settings)


def _become_process(how: str) -> None:
    _need_key(need_servers())
    sys.stdout.flush()
    command = [sys.executable, "-P", "-m", "infra.backup", *filter(None, [how])]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter


def _print_backup(settings: Settings, report: Report) -> None:
    kind = "a full manifest" if report.full else "what changed"
    out = Console(highlight=False, markup=False)
    out.print(
        f"{report.place}: {report.objects} objects, {report.objects_bytes >> 20} MB; new {report.new}, "
        f"{report.new_bytes >> 20} MB; gone {report.gone}; {report.rows} rows of the log; {kind}; "
        f"{report.seconds:.1f} s",
        soft_wrap=True,
    )
    if report.secrets and not settings.backup_recipient:
        out.print(
            f"its secrets open with {key_file(settings)}: keep a copy on another machine",
            soft_wrap=True,
        )
    _print_findings(report.findings)


def _print_findings(findings: list[str]) -> None:
    for finding in findings:
        console.print(f"finding: {shown(finding)}", markup=False, soft_wrap=True)


def _prune(
    settings: Settings, keep_days: float | None, dry_run: bool, as_json: bool
) -> None:
    days = settings.backup_keep_days if keep_days is None else keep_days
    if not days and keep_days is None:
        raise SettingsError(
            "how far back must a state be restorable? Say it by --keep-days N, or by DARKROOM_BACKUP_KEEP_DAYS"
        )
    report = pruning.prune(settings, vault_of(settings), days, dry_run)
    if as_json:
        print(json.dumps(report.printed()))
    else:
        done = "would be deleted" if dry_run else "deleted"
        print(
            f"{report.place}: {report.runs} runs and {report.blobs} blobs {done}; "
            f"the oldest state is that of {report.oldest}"
        )
        _print_findings(report.findings)
    if report.findings:
        raise typer.Exit(1)


def _verify(settings: Settings, as_json: bool) -> None:
    report = verified(vault_of(settings))
    if as_json:
        print(json.dumps(report.printed()))
    else:
        print(f"{report.place}: {report.blobs} blobs, {report.bytes >> 20} MB read")
        _print_findings(report.findings)
    if report.findings:
        raise typer.Exit(1)


@app.command()
def restore(
    source: FromOption = "",
    key: Annotated[
        Path | None,
        typer.Option(
            help="The file that opens the secrets; without it DARKROOM_BACKUP_KEY_FILE."
        ),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            help="The last run until then: a run's name, or a time as 20260131T12."
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into an empty state folder, or into empty servers."""
    given = Settings.given()
    if source:
        given = given.model_copy(update={"backup_url": source})
    telemetry.configure_command(given, "restore")
    started_s = time.monotonic()
    vault = vault_of(given)
    with closing(held(vault, at)) as index, console.status("restoring") as line:
        report = _restored(given, vault, index, key, line.update)
    report.seconds = round(time.monotonic() - started_s, 3)
    if as_json:
        print(json.dumps(report.printed()))
    else:
        _print_restored(given, report)
    if report.findings:
        raise typer.Exit(1)


def _restored(
    given: Settings, vault: Vault, index: Index, key: Path | None, said: object
) -> filling.Restored:
    assert callable(said)
    if given.model_fields_set & SERVERS:
        bootstrap.bootstrap(given)
        migrate.migrate(given)
        return filling.fill(given, vault, index, said)
    return rebuild(given, vault, index, key or key_file(given), said)


def _print_restored(given: Settings, report: filling.Restored) -> None:
    print(
        f"{report.objects} objects, {report.objects_bytes >> 20} MB, {report.rows} rows of the log and "
        f"{report.models} model files of {report.begun[:19]}Z are back after {report.seconds:.1f} s; "
        f"{report.checksum_mismatches} checksums are wrong"
    )
    _print_findings(report.findings)
    if not given.model_fields_set & SERVERS:
        print("next: darkroom up --detach")
