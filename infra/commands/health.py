"""`darkroom health NAME`: the health check of a container. Exit status 0: the process
here does its work.
"""

from __future__ import annotations

import socket
import time
from typing import Annotated

import httpx
import psutil
import typer

from infra.terminal import shown
from shared.broker.schemes import port_of
from shared.runtime.heartbeat import read_fault
from shared.runtime.settings import HttpSettings, ProcessSettings, Settings

app = typer.Typer(add_completion=False)
CONSUMERS = ("worker", "recorder", "callbacks")


@app.command()
def health(
    process: Annotated[
        str,
        typer.Argument(help="handlers, worker, recorder, callbacks, sweep or backup"),
    ],
) -> None:
    """Whether the process of this container is ready and still connected; says what is
    wrong otherwise.
    """
    fault = check(Settings.load(), process)
    if fault:
        typer.echo(f"{process}: {shown(fault)}", err=True)
        raise typer.Exit(1)


def check(settings: Settings, process: str) -> str:
    """What is wrong with `process`; empty while all is well.

    Every process must have touched its ready file, and go on touching it. The HTTP
    server must report that it is ready; a consumer must hold a connection to the broker:
    without one it looks alive from outside and does nothing.
    """
    if process not in ("handlers", *CONSUMERS, "sweep", "backup"):
        raise typer.BadParameter(
            "the processes are handlers, worker, recorder, callbacks, sweep and backup"
        )
    fault = _beat(settings)
    if fault:
        return fault
    if process == "handlers":
        return _http_server(settings)
    if process in CONSUMERS:
        port = port_of(settings.broker_url.get_secret_value())
        if not connected(port):
            return "no connection to the broker"
    return ""


def _beat(settings: ProcessSettings) -> str:
    file = settings.ready_file
    if file is None:
        return ""
    try:
        age_s = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return "not ready yet"
    if age_s <= settings.beat_timeout_s:
        return ""
    return f"stuck for {age_s:.0f} s: {read_fault(file) or 'no sign of life'}"


def connected(port: int) -> bool:
    """Whether a process of this container holds an established TCP connection to `port`
    of any host.
    """
    for link in psutil.net_connections("tcp"):
        is_established = link.status == psutil.CONN_ESTABLISHED
        if is_established and link.raddr and link.raddr.port == port:
            return True
    return False


def _http_server(settings: HttpSettings) -> str:
    host = settings.api_host
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        host = "127.0.0.1"
    url = f"http://{host}:{settings.api_port}/readyz"
    try:
        response = httpx.get(url, timeout=5, trust_env=False)
    except (httpx.HTTPError, socket.gaierror) as error:
        return f"no answer: {type(error).__name__}"
    if response.is_success:
        return ""
    return f"/readyz says {response.status_code}: {response.text[:200]}"
