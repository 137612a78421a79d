"""Faults that a drill makes on purpose, on its own stack: each has to be found and named
by what an operator would run, and the stack is well again afterwards.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import psycopg2
from psycopg2 import sql

from infra import doctor
from infra.backup import tables
from infra.backup.index import held
from infra.backup.vault import vault_of
from infra.drill import doors
from infra.drill.own_stack import OwnStack
from infra.drill.protocol import Scenario
from infra.local.identities import BACKUP, key_of
from infra.local.state import State
from shared.models import registry
from shared.runtime.about import about
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.workflows import PRESETS

NOTICED_S = 120.0
POLL_S = 0.5


@dataclass
class Ground:
    """Where a scenario plays: the drill's stack, the settings of the backup, a folder
    for what it needs, and how the stack is restored from nothing.
    """

    stack: OwnStack
    backup: Settings
    folder: Path
    restore: Callable[[], None]


def play(name: str, ground: Ground) -> Scenario:
    """Make the fault, look for it, mend it."""
    began_s = time.monotonic()
    finding, to_do = SCENARIOS[name](ground)
    seconds = round(time.monotonic() - began_s, 3)
    found = bool(finding)
    return Scenario(name, found, finding or f"{name}: not noticed", to_do, seconds)


Found = tuple[str, str]
"""The finding, which begins with the name of the scenario, or "" where nothing noticed
it; and what to do.
"""


def machine(ground: Ground) -> Found:
    killed = ground.stack.lose()
    status = ground.stack.run("status")
    ground.restore()
    doors.pass_through(ground.stack, ground.folder)
    if not status.returncode:
        return "", ""
    return (
        f"machine: {killed} processes were killed and the state folder is gone; `status`: {_last(status.stderr)}",
        "darkroom restore; darkroom up --detach; switch clients over",
    )


def disk(ground: Ground) -> Found:
    stack = ground.stack
    stack.kill_all()
    shutil.rmtree(stack.folder / "seaweedfs" / "data")
    stack.up()
    found = _first("disk", _doctored(ground))
    stack.lose()
    ground.restore()
    return found, "move the state folder away; darkroom restore; darkroom up --detach"


def database(ground: Ground) -> Found:
    """The database is gone, and an empty one stands in its place."""
    settings = ground.stack.settings
    url = settings.database_url.get_secret_value()
    server, _, name = url.rpartition("/")
    with closing(psycopg2.connect(f"{server}/postgres", connect_timeout=5)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            for act in ("drop database {} with (force)", "create database {}"):
                cursor.execute(sql.SQL(act).format(sql.Identifier(name)))
    found = _first("database", _doctored(ground))
    ground.stack.must("migrate")
    ground.stack.must("log", "rebuild")
    with tables.connected(settings) as connection:
        is_back = not tables.is_empty(connection)
    return found if is_back else "", "darkroom migrate; darkroom log rebuild"


def broker(ground: Ground) -> Found:
    """It is found by what the supervisor says, which starts it again empty."""
    stack = ground.stack
    log = stack.folder / "logs" / "supervisor.log"
    before = log.stat().st_size
    data = stack.folder / "valkey"
    shutil.rmtree(data / "appendonlydir", ignore_errors=True)
    stack.process("valkey").kill()

    def died() -> str:
        lines = log.read_bytes()[before:].decode(errors="replace").splitlines()
        said = [json.loads(line) for line in lines if line.startswith("{")]
        for line in said:
            if line.get("event") == "process.died" and line["program"] == "valkey":
                return f"broker: valkey died with status {line['status']} and came back empty"
        return ""

    found = _noticed(died)
    stack.must("sweep", "--json")
    doors.pass_through(stack, ground.folder)
    return found, "nothing: the sweep publishes again what is missing"


def workflow(ground: Ground) -> Found:
    """The workflow files of a standby, a copy of which is altered and deleted from."""
    copy = ground.folder / "presets"
    shutil.copytree(PRESETS, copy)
    fast = copy / "fast.json"
    fast.write_bytes(fast.read_bytes().replace(b'"version": 1', b'"version": 9', 1))
    (copy / "dehaze.json").unlink()
    with closing(held(vault_of(ground.backup))) as index:
        known = doctor.of_backup(index, "workflow")
    there = {path.stem: doctor.sha256_of(path) for path in copy.glob("*.json")}
    findings = doctor.workflows(known, there, "in the backup and the standby")
    named = " ".join(findings)
    is_found = "fast was altered" in named and "dehaze is missing" in named
    return "; ".join(findings) if is_found else "", "install the release of the backup"


def release(ground: Ground) -> Found:
    """A standby with an earlier image, as it says at `/about`."""
    said = about(ground.stack.settings) | {"release": "0.0.1"}
    with _process(json.dumps(said).encode()) as address:
        findings = _doctored(ground, "--with", address)
    return _first("release", findings), "install the same release everywhere"


def model(ground: Ground) -> Found:
    """A file of another checksum in the models folder, and one that is missing."""
    settings = ground.stack.settings
    folder = settings.models_dir.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    file = next(
        file
        for known in registry().values()
        for file in known.files
        if file.package is None and not (folder / file.path).exists()
    )
    wrong = folder / file.path
    wrong.write_bytes(b"not the weights")
    try:
        findings = doctor.models(settings, {"lost.pth": "0" * 64})
    finally:
        wrong.unlink()
    named = [finding for finding in findings if finding.startswith("model: ")]
    is_found = any("SHA-256" in f for f in named) and any("missing" in f for f in named)
    return "; ".join(named) if is_found else "", "darkroom models pull NAME"


def permission(ground: Ground) -> Found:
    """A backup account that may read and not write."""
    stack = ground.stack
    settings = stack.settings
    state = State.known(stack.folder)
    assert state is not None
    admin = key_of(state, "admin")
    S3Store(settings.model_copy(update=admin)).make_bucket("drill-vault")
    key = key_of(state, BACKUP)
    to = {
        "BACKUP_URL": "s3://drill-vault/main",
        "BACKUP_S3_ENDPOINT_URL": settings.s3_endpoint_url,
        "BACKUP_S3_ACCESS_KEY": key["s3_access_key"].get_secret_value(),
        "BACKUP_S3_SECRET_KEY": key["s3_secret_key"].get_secret_value(),
    }
    done = stack.run("backup", **to)
    if not done.returncode:
        return "", ""
    return (
        f"permission: the backup ended with {done.returncode}: {_last(done.stderr)}",
        "give the backup account the right to put (never to delete)",
    )


def standby(ground: Ground) -> Found:
    """The stack has photos that no run of the backup has copied."""
    doors.pass_through(ground.stack, ground.folder)
    with closing(held(vault_of(ground.backup))) as index:
        findings = doctor.in_step(ground.stack.settings, index, 0.0)
    return _first("standby", findings), "darkroom backup, or backup --follow"


def partition(ground: Ground) -> Found:
    """The store is there, and nothing reaches it."""
    stack = ground.stack
    settings, store = stack.settings, stack.process("seaweedfs")
    store.send_signal(signal.SIGSTOP)
    try:
        found = _noticed(lambda: _unready(settings))
    finally:
        store.send_signal(signal.SIGCONT)
    _noticed(lambda: "" if _unready(settings) else "ready")
    doors.pass_through(stack, ground.folder)
    return found, "mend the network; workers wait meanwhile, and nothing is lost"


SCENARIOS: dict[str, Callable[[Ground], Found]] = {
    "workflow": workflow,
    "release": release,
    "model": model,
    "permission": permission,
    "standby": standby,
    "partition": partition,
    "broker": broker,
    "database": database,
    "disk": disk,
    "machine": machine,
}
"""Each by its name, those that cost a stack last."""


def _doctored(ground: Ground, *options: str) -> list[str]:
    """What `darkroom doctor` finds on the drill's stack."""
    place = ground.backup.backup_url or vault_of(ground.backup).place
    found = ground.stack.json_of("doctor", *options, BACKUP_URL=place)
    return list(found["findings"])


def _first(kind: str, findings: list[str]) -> str:
    return next((f for f in findings if f.startswith(f"{kind}: ")), "")


def _last(text: str) -> str:
    return text.strip().splitlines()[-1] if text.strip() else "nothing was said"


def _noticed(look: Callable[[], str]) -> str:
    """The first answer of `look`; empty where none comes in time."""
    ends_s = time.monotonic() + NOTICED_S
    while not (answer := look()) and time.monotonic() < ends_s:
        time.sleep(POLL_S)
    return answer


def _unready(settings: Settings) -> str:
    try:
        answer = httpx.get(f"{settings.api_url}/readyz", timeout=20, trust_env=False)
    except httpx.HTTPError as error:
        return f"partition: the API does not answer: {type(error).__name__}"
    if answer.is_success:
        return ""
    return f"partition: /readyz says {answer.status_code}: {answer.text[:160]}"


@contextmanager
def _process(said: bytes) -> Iterator[str]:
    """A process that says this at `/about`; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
