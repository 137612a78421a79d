"""`darkroom up`, `down`, `status`: the embedded stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.backup.rebuild import require_finished
from infra.backup.sealed import key_file
from infra.backup.vault import vault_of
from infra.commands.backup import say_drawn_key
from infra.commands.config import warn_of_unknown
from infra.commands.options import JsonOption
from infra.local import figures, stack
from infra.local.health import faults
from infra.local.program import tail
from infra.local.state import Pids, make_folders
from infra.sign_in import new_link
from infra.terminal import shown
from shared import workflows
from shared.errors import Code, SettingsError, TransientError
from shared.runtime import telemetry
from shared.runtime.settings import PREFIX, Settings, StackSettings

app = typer.Typer(add_completion=False)
DETACH_S = 150.0
USAGE = 2
"""Exit status of a supervisor that refused its options or settings."""
DOWN_S = 60.0
console = Console(stderr=True, highlight=False)


@app.command()
def up(
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Return when the stack is ready; it runs on."),
    ] = False,
    workers: Annotated[
        str,
        typer.Option(
            help="Worker processes; auto: one a GPU, or one on the CPU.",
            metavar="N|auto",
        ),
    ] = "1",
    lan: Annotated[
        bool,
        typer.Option(
            "--lan",
            help="Be reached from this network, too: for `darkroom console --lan`.",
        ),
    ] = False,
    is_detached: Annotated[bool, typer.Option("--detached", hidden=True)] = False,
) -> None:
    """Start the embedded stack and every process of Darkroom; Ctrl-C or `darkroom down`
    stops it.
    """
    given = Settings.given()
    workflows.check_usual(given.usual_params)
    require_finished(_folder(given))
    count = stack.worker_count(given, _number(workers))
    if detach:
        _detach(_folder(given), count, lan)
        return
    telemetry.configure(given, "supervisor")
    if given.backup_interval_s:
        say_drawn_key(given)
    running = stack.Stack(given, count, lan=lan)
    running.heed_signals()
    try:
        if running.start():
            if not is_detached:  # into a log belongs no link
                _print_where(running.settings)
            running.watch()
    finally:
        running.stop()


def _number(workers: str) -> int | None:
    if workers == "auto":
        return None
    if not workers.isdecimal() or int(workers) < 1:
        raise typer.BadParameter(
            f"--workers {workers!r} is neither a number from 1 on nor auto"
        )
    return int(workers)


@app.command()
def down() -> None:
    """Stop the running stack; its data stay."""
    settings = Settings.load()
    pids = Pids(_folder(settings))
    supervisor = pids.alive().get("supervisor")
    if supervisor is not None:
        supervisor.terminate()
        try:
            supervisor.wait(settings.drain_s + DOWN_S)
        except psutil.TimeoutExpired:
            console.print("the supervisor did not stop in time; killing what is left")
    left = pids.end_all()
    console.print(
        "stopped"
        if supervisor or left
        else f"no stack is running in {_folder(settings)}"
    )


@app.command()
def status(
    as_json: JsonOption = False,
) -> None:
    """What runs, and whether it is well, what is wrong first; exit status 1 if
    something is not.
    """
    settings = Settings.load()
    folder = _folder(settings)
    if not stack.running(folder):
        raise SettingsError(
            f"no stack is ready in {folder}; start one with `darkroom up`"
        )
    processes = []
    samples = []
    pids = Pids(folder)
    for name, process in pids.alive().items():
        with suppress(psutil.NoSuchProcess):  # it ended while we looked
            about = _about(folder, name, process)
            own = figures.read(about["figures"])
            about["device"] = figures.device_of(own)
            processes.append(about)
            samples.append(own)
    well = {about["name"] for about in processes}
    found = faults(settings) | {
        name: f"died, and is started again; {folder / 'logs' / f'{name}.log'} and supervisor.log say why"
        for name in pids.names()
        if name not in well
    }
    summary = figures.summary(samples, time.time())
    if as_json:
        printed = {"processes": processes, "health": found, "summary": summary}
        print(json.dumps(printed, indent=2))
    else:
        _print_status(processes, found, summary)
    if any(found.values()):
        raise typer.Exit(1)


def _about(folder: Path, name: str, process: psutil.Process) -> dict[str, Any]:
    with process.oneshot():
        age_s, rss = time.time() - process.create_time(), process.memory_info().rss
    ready = stack.ready_file(folder, name)
    return {
        "name": name,
        "device": "",
        "pid": process.pid,
        "age_s": round(age_s, 1),
        "rss_bytes": rss,
        "figures": ready.read_text() if ready.exists() else "",
    }


def _print_status(
    processes: list[dict[str, Any]], found: dict[str, str], summary: dict[str, Any]
) -> None:
    out = Console(highlight=False)
    for part, fault in found.items():
        if fault:
            out.print(f"[red]✗[/] {part}: {escape(shown(fault))}")
    for sentence in figures.warnings(summary):
        out.print(f"[yellow]![/] {escape(sentence)}")
    out.print(_process_table(processes))
    for about in processes:
        if about["figures"]:
            # No table, which would break it on a narrow terminal or in a pipe.
            out.print(
                f"  {about['name']:13} {about['figures']}/metrics", soft_wrap=True
            )
    _print_summary(out, summary)
    for part, fault in found.items():
        if not fault:
            out.print(f"[green]✓[/] {part}")


def _process_table(processes: list[dict[str, Any]]) -> Table:
    table = Table("process", "device", "pid", "running for", "memory")
    for about in processes:
        memory, age = f"{about['rss_bytes'] >> 20} MB", f"{about['age_s']:.0f} s"
        name, device = about["name"], escape(about["device"])
        table.add_row(name, device, str(about["pid"]), age, memory)
    return table


def _print_summary(out: Console, summary: dict[str, Any]) -> None:
    oldest_s = summary["oldest_message_s"]
    waits = f", the oldest for {figures.lasting(oldest_s)}" if oldest_s else ""
    backup_s = summary["last_backup_s"]
    backup = "none known" if backup_s is None else f"{figures.lasting(backup_s)} ago"
    for name, value in {
        "restored": f"{summary['photos']} ({summary['photos_per_hour']:g} an hour)",
        "uploads": f"{summary['uploads']} ({summary['uploads_per_hour']:g} an hour)",
        "waiting": f"{summary['waiting']} messages{waits}",
        "last backup": backup,
    }.items():
        out.print(f"  {name:13} {value}")


def _detach(folder: Path, workers: int, lan: bool) -> None:
    if "supervisor" in Pids(folder).alive():
        raise SettingsError(
            f"a stack is already running in {folder}; `darkroom down` stops it"
        )
    warn_of_unknown()
    make_folders(folder)
    log = folder / "logs" / "supervisor.log"
    (folder / "run" / stack.READY).unlink(missing_ok=True)
    before = log.stat().st_size if log.exists() else 0
    child = _supervisor(folder, workers, lan, log)
    deadline_s = time.monotonic() + DETACH_S
    try:
        with console.status("starting"):
            while not stack.running(folder):
                if child.poll() is not None or time.monotonic() > deadline_s:
                    child.terminate()
                    raise _did_not_start(
                        child,
                        f"the stack did not start; {log} ends with:\n{tail(log, since=before)}",
                    )
                time.sleep(0.05)
    except KeyboardInterrupt:
        child.terminate()
        console.print("interrupted; what had been started stops")
        child.wait()
        raise
    _print_where(Settings.load(state_dir=folder))


def _did_not_start(
    child: subprocess.Popen[bytes], detail: str
) -> SettingsError | TransientError:
    return (
        SettingsError(detail)
        if child.returncode == USAGE
        else TransientError(Code.INTERNAL, detail)
    )


def _supervisor(
    folder: Path, workers: int, lan: bool, log: Path
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "infra.cli", "up", "--detached"]
    command += ["--workers", str(workers)]
    if lan:
        command.append("--lan")
    environment = os.environ | {f"{PREFIX}STATE_DIR": str(folder)}
    with log.open("ab") as sink:
        return subprocess.Popen(
            command,
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )


def _print_where(settings: Settings) -> None:
    why = (
        ""
        if stack.has_gpu(settings)
        else " (no GPU here: the strongest, enhance, takes minutes a megapixel)"
    )
    console.print(
        f"Darkroom is ready. Drop photos into the bucket [bold]{settings.bucket_uploads}[/]."
    )
    for name, value in {
        "object store": settings.s3_endpoint_url or "Amazon S3",
        "console": _link(settings),
        "": "(good once, for ten minutes; `darkroom console` prints another)",
        "API": settings.api_url,
        "state, logs": _folder(settings),
        "workflow": f"{settings.default_workflow}{why if settings.default_workflow == 'fast' else ''}",
        "backup": _backup_of(settings),
        "for clients": "darkroom env",
        "stop": "darkroom down",
    }.items():
        console.print(f"  {name:13} {value}", soft_wrap=True)


def _link(settings: Settings) -> str:
    try:
        return new_link(settings, "", settings.api_url)
    except TransientError as error:
        return f"none now: {error.detail}; ask `darkroom console`"


def _backup_of(settings: Settings) -> str:
    if not settings.backup_interval_s:
        return "none by itself (DARKROOM_BACKUP_INTERVAL_S=0)"
    place = f"{vault_of(settings).place}, every {settings.backup_interval_s:.0f} s"
    if settings.backup_recipient:
        return place
    return f"{place}; keep a copy of {key_file(settings)} on another machine"


def _folder(settings: StackSettings) -> Path:
    return settings.state_dir.expanduser().resolve()
