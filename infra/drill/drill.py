"""The drill from start to end.

    (a stack of the drill's own, where there is no backup) → loss → restore → up → doors
    → the sample restored again → scenarios → protocol

RPO is counted back from the loss to the begin of the last run of the backup; RTO from
the loss to a photo that went through every door of the second stack.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from infra.backup import manifest
from infra.backup.index import is_empty
from infra.backup.sealed import key_file
from infra.backup.vault import S3, account, vault_of
from infra.drill import doors, photos
from infra.drill.own_stack import OwnStack
from infra.drill.protocol import Protocol
from infra.drill.scenarios import SCENARIOS, Ground, play
from shared.errors import Code, DarkroomError, PermanentError
from shared.runtime.settings import Settings

INTERVAL_S = 5
"""Of the backup of a stack of the drill's own."""
BACKED_UP_S = 600.0
ALL = "all"
Said = Callable[[str], None]


def drill(
    settings: Settings, count: int, scenarios: list[str], said: Said = lambda _: None
) -> Protocol:
    """Lose a stack and come back. `count`: photos that are restored again and compared;
    where there is no backup yet, so many are made first.

    Whatever fails is a finding. The folders of the drill are gone at the end.
    """
    protocol = Protocol.begin()
    began_s = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="darkroom-drill-"))
    try:
        _play(settings, count, scenarios, folder, protocol, said)
    except (DarkroomError, OSError, KeyError) as error:
        detail = error.detail if isinstance(error, DarkroomError) else repr(error)
        protocol.findings.append(f"drill: {protocol.steps[-1].name}: {detail}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    protocol.seconds = round(time.monotonic() - began_s, 3)
    return protocol


def _play(
    settings: Settings,
    count: int,
    scenarios: list[str],
    folder: Path,
    protocol: Protocol,
    said: Said,
) -> None:
    with protocol.step("look for a backup") as step:
        vault = vault_of(settings)
        has_backup = not is_empty(vault)
        step.told = vault.place if has_backup else f"none in {vault.place}"
    if not has_backup:
        settings = _rehearsed(settings, count, folder, protocol, said)
    lost_at, lost_s = datetime.now(UTC), time.monotonic()
    last = manifest.runs(vault_of(settings))[-1]
    protocol.rpo_s = round((lost_at - last.begun).total_seconds(), 3)
    second = _second(settings, folder)
    try:
        _come_back(second, folder, protocol, said)
        protocol.rto_s = round(time.monotonic() - lost_s, 3)
        _rerun(second, count, protocol, said)
        ground = Ground(second, settings, folder, lambda: _restore(second))
        for name in scenarios:
            said(f"scenario {name}")
            with protocol.step(f"scenario {name}") as step:
                scenario = play(name, ground)
                step.told = scenario.finding
            protocol.scenarios.append(scenario)
            protocol.findings.append(scenario.finding)
    finally:
        second.lose()


def _rehearsed(
    settings: Settings, count: int, folder: Path, protocol: Protocol, said: Said
) -> Settings:
    """Make a stack, back it up while uploads run on, and lose it; the settings of its
    backup.
    """
    first = OwnStack(
        folder / "first",
        BACKUP_INTERVAL_S=str(INTERVAL_S),
        BACKUP_URL=str(folder / "vault"),
        BACKUP_KEY_FILE=str(folder / "backup.key"),
    )
    of_backup = settings.model_copy(
        update={
            "backup_url": str(folder / "vault"),
            "backup_key_file": folder / "backup.key",
            "backup_recipient": "",
        }
    )
    try:
        said("a stack of the drill's own")
        with protocol.step("start a stack"):
            first.up()
        with protocol.step("restore photos") as step:
            said(f"{count} photos")
            photos.restored(first, folder, count)
            step.told = f"{count} photos"
        uploads = photos.Uploads(first, folder, count)
        with protocol.step("back up while uploads run on"):
            _until_backed_up(of_backup, datetime.now(UTC))
        with protocol.step("lose the machine") as step:
            killed = first.lose()
            uploads.stop()
            step.told = f"{killed} processes killed, {uploads.sent} uploads meanwhile"
    finally:
        first.lose()
    return of_backup


def _until_backed_up(settings: Settings, since: datetime) -> None:
    """Wait for a run of the backup that began after `since`."""
    ends_s = time.monotonic() + BACKED_UP_S
    while time.monotonic() < ends_s:
        known = manifest.runs(vault_of(settings))
        if known and known[-1].begun > since:
            return
        time.sleep(1)
    raise PermanentError(Code.INTERNAL, "no run of the backup came to its end")


def _second(settings: Settings, folder: Path) -> OwnStack:
    """The stack that is made of the backup: its own folders and ports, and no backup of
    its own.
    """
    return OwnStack(
        folder / "second",
        BACKUP_INTERVAL_S="0",
        MODELS_DIR=str(folder / "models"),
        BACKUP_URL=settings.backup_url or vault_of(settings).place,
        BACKUP_KEY_FILE=str(key_file(settings)),
        **_to_backup(settings),
    )


def _to_backup(settings: Settings) -> dict[str, str]:
    """How the second stack reaches an s3:// backup: as the lost one did, which may have
    been by the store and the keys of its photos.
    """
    if not settings.backup_url.startswith(S3):
        return {}
    reached = account(settings)
    return {
        "BACKUP_S3_ENDPOINT_URL": reached.s3_endpoint_url,
        "BACKUP_S3_ACCESS_KEY": reached.s3_access_key.get_secret_value(),
        "BACKUP_S3_SECRET_KEY": reached.s3_secret_key.get_secret_value(),
        "S3_REGION": reached.s3_region,
    }


def _come_back(second: OwnStack, folder: Path, protocol: Protocol, said: Said) -> None:
    said("restore")
    with protocol.step("restore the backup") as step:
        report = second.json_of("restore")
        step.told = f"{report['objects']} objects of {report['begun'][:19]}Z"
    protocol.objects, protocol.rows = report["objects"], report["rows"]
    protocol.checksum_mismatches = report["checksum_mismatches"]
    protocol.findings += report["findings"]
    said("start it")
    with protocol.step("start it"):
        second.up()
    said("doors")
    with protocol.step("use its doors") as step:
        step.told = f"task {doors.pass_through(second, folder)}"


def _restore(second: OwnStack) -> None:
    second.json_of("restore")
    second.up()


def _rerun(second: OwnStack, count: int, protocol: Protocol, said: Said) -> None:
    """Restore the latest photos of the backup again, and compare them."""
    said("photos restored again")
    with protocol.step("restore a sample again") as step:
        with second.client() as client:
            rows = client.tasks(limit=min(1000, count), status="success")
        ids = sorted({row["task_id"] for row in rows if row["task_id"]})
        done = second.run("task", "rerun", *ids, "--compare", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        protocol.reruns = len(lines)
        protocol.reruns_identical = bool(lines) and all(
            line["identical"] for line in lines
        )
        step.told = f"{len(lines)} photos"
    for line in lines:
        if not line["identical"]:
            why = line["error"] or f"differs in {line['differing']} samples"
            protocol.findings.append(f"rerun: task {line['task_id']}: {why}")


def named(scenario: str) -> list[str]:
    """The scenarios of `--scenario`. Raises `KeyError` for one that is none."""
    if scenario in ("", ALL):
        return list(SCENARIOS) if scenario else []
    names = scenario.split(",")
    for name in names:
        SCENARIOS[name]
    return names
