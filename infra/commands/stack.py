"""`darkroom up`, `down`, `status`: the embedded stack."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.table import Table

from infra.local import stack
from infra.local.state import Pids
from shared import telemetry
from shared.errors import Code, SettingsError, TransientError
from shared.settings import Settings

app = typer.Typer(add_completion=False)
DETACH_S = 150.0
console = Console(stderr=True, highlight=False)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return when the stack is ready; it runs on.")] = False,
    workers: Annotated[int, typer.Option(help="Worker processes.", min=1)] = 1,
) -> None:
    """Start the embedded stack and every process of Darkroom; Ctrl-C or `darkroom down` stops it."""
    settings = Settings.load()
    if detach:
        _detach(settings, workers)
        return
    telemetry.configure(settings, "supervisor")
    running = stack.Stack(settings, workers)
    try:
        running.start()
        _print_where(Settings.load())
        running.watch()
    finally:
        running.stop()


@app.command()
def down() -> None:
    """Stop the running stack; its data stay."""
    folder = _folder(Settings.load())
    pids = Pids(folder)
    supervisor = pids.alive().get("supervisor")
    if supervisor is not None:
        supervisor.terminate()
        try:
            supervisor.wait(Settings.load().drain_s + 30)
        except psutil.TimeoutExpired:
            console.print("the supervisor did not stop in time; killing what is left")
    left = pids.kill_all()
    console.print("stopped" if supervisor or left else f"no stack is running in {folder}")


@app.command()
def status() -> None:
    """What runs, and for how long."""
    settings = Settings.load()
    alive = Pids(_folder(settings)).alive()
    table = Table("process", "pid", "running for", "memory")
    for name, process in alive.items():
        with process.oneshot():
            age_s, rss = time.time() - process.create_time(), process.memory_info().rss
        table.add_row(name, str(process.pid), f"{age_s:.0f} s", f"{rss >> 20} MB")
    Console().print(table)
    if not stack.running(_folder(settings)):
        raise SettingsError(f"no stack is ready in {_folder(settings)}; start one with `darkroom up`")


def _detach(settings: Settings, workers: int) -> None:
    folder = _folder(settings)
    if "supervisor" in Pids(folder).alive():
        raise SettingsError(f"a stack is already running in {folder}; `darkroom down` stops it")
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / stack.READY).unlink(missing_ok=True)
    log_path = folder / "logs" / "supervisor.log"
    with log_path.open("ab") as log:
        command = [sys.executable, "-m", "infra.cli", "up", "--workers", str(workers)]
        environment = os.environ | {"DARKROOM_STATE_DIR": str(folder)}
        child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
                                 start_new_session=True)  # fmt: skip
    deadline_s = time.monotonic() + DETACH_S
    while not stack.running(folder):
        if child.poll() is not None or time.monotonic() > deadline_s:
            detail = f"the stack did not start; {log_path} says why"
            raise TransientError(Code.INTERNAL, detail)
        time.sleep(0.05)
    _print_where(Settings.load(state_dir=folder))


def _print_where(settings: Settings) -> None:
    console.print(f"Darkroom is ready. Drop photos into the bucket [bold]{settings.bucket_uploads}[/].")
    console.print(f"  object store  {settings.s3_endpoint_url}\n  API           {settings.api_url}")
    console.print(f"  state, logs   {_folder(settings)}\n  workflow      {settings.default_workflow}", end="")
    console.print(" (no GPU here: the strongest, enhance, takes minutes a megapixel)" if not stack.has_gpu() else "")
    console.print("  for clients   darkroom env      stop: darkroom down")


def _folder(settings: Settings) -> Path:
    return settings.state_dir.expanduser().resolve()
