"""What has to be the same everywhere, compared: releases, workflows, models and settings
of all processes, what the backup holds, and how far it is behind.

Each finding is a sentence that begins with what it is about.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from infra.backup import tables
from infra.backup.index import Index, held
from infra.backup.run import OWN, PROBE, names
from infra.backup.vault import PROBES, Vault, vault_of
from shared import __version__
from shared.errors import DarkroomError
from shared.models import Model, ModelFile, registry
from shared.runtime.about import fingerprint, workflow_files
from shared.runtime.settings import ModelSettings, Settings
from shared.s3.store import S3Store
from shared.workflows import Shelf, own_faults, use

ANSWER_S = 10.0
LATE = 2.0
"""A backup is late after so many of its intervals."""

Abouts = Mapping[str, Mapping[str, Any]]
"""Process → what it says of itself."""


def asked(addresses: Mapping[str, str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What the processes say at `/about`, and a finding for each that does not."""
    said, findings = {}, []
    for name, address in addresses.items():
        try:
            answer = httpx.get(f"{address}/about", timeout=ANSWER_S, trust_env=False)
            said[name] = answer.raise_for_status().json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            findings.append(f"process {name}: no answer: {type(error).__name__}")
    return said, findings


def processes(settings: Settings, said: Abouts) -> list[str]:
    """In what the processes differ from what is installed here, and in settings from
    each other.
    """
    here = workflow_files()
    findings = []
    for name, about in said.items():
        if about["release"] != __version__:
            findings.append(
                f"release: {name} runs {about['release']}, and {__version__} is installed here"
            )
        findings += workflows(here, about["workflows"], f"here and in {name}")
        findings += _different_models(name, about["models"])
        own = fingerprint(settings)
        if settings.pepper.get_secret_value() and about.get("stack", own) != own:
            findings.append(
                f"settings: {name} has another DARKROOM_PEPPER: it takes every user for a new one"
            )
    return findings + _different_settings(said)


def workflows(
    expected: Mapping[str, str], found: Mapping[str, str], where: str
) -> list[str]:
    """Workflow files that are missing, new or altered; both are name → SHA-256."""
    findings = []
    for name in sorted({*expected, *found}):
        if name not in found:
            findings.append(f"workflow: {name} is missing ({where})")
        elif name not in expected:
            findings.append(f"workflow: {name} is one too many ({where})")
        elif expected[name] != found[name]:
            findings.append(f"workflow: {name} was altered ({where})")
    return findings


def own_workflows(settings: Settings) -> list[str]:
    """Workflow files of the installation's own that cannot be used."""
    shelf = Shelf(S3Store(settings), settings.bucket_results)
    use(shelf)
    try:
        shelf.all()
    except DarkroomError as error:
        return [f"workflow: your own could not be read: {error.detail}"]
    return [f"workflow: {fault}" for fault in own_faults()]


def _different_models(name: str, found: Mapping[str, str]) -> list[str]:
    known = {model.name: model.sha256 for model in registry().values()}
    return [
        f"model: {model} has another checksum in {name} than here"
        for model in sorted(known.keys() & found.keys())
        if known[model] != found[model]
    ]


def _different_settings(said: Abouts) -> list[str]:
    findings = []
    everything = [about.get("settings", {}) for about in said.values()]
    for setting in sorted({name for settings in everything for name in settings}):
        values: dict[str, list[str]] = {}
        for process, about in said.items():
            if setting in about.get("settings", {}):
                values.setdefault(about["settings"][setting], []).append(process)
        if len(values) > 1:
            told = "; ".join(
                f"{value!r} in {', '.join(who)}" for value, who in values.items()
            )
            findings.append(f"settings: DARKROOM_{setting.upper()} is {told}")
    return findings


def models(settings: ModelSettings, backed_up: Mapping[str, str]) -> list[str]:
    """Model files here that are not what the registry says, or that the backup has and
    this machine lacks. `backed_up`: path in the models folder → SHA-256.
    """
    folder = settings.models_dir.expanduser()
    findings = []
    for model in registry().values():
        for file in model.files:
            path = _path_of(file, folder)
            if path is not None and path.is_file():
                findings += _wrong(model, path, file.sha256)
    for name, sha256 in backed_up.items():
        path = folder / name
        if not path.is_file():
            findings.append(f"model: {name} of the backup is missing in {folder}")
        elif not name.endswith(".json") and sha256_of(path) != sha256:
            findings.append(f"model: {name} is another one than in the backup")
    return findings


def _path_of(file: ModelFile, folder: Path) -> Path | None:
    if file.package is None:
        return folder / file.path
    spec = importlib.util.find_spec(file.package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) / file.path if places else None


def _wrong(model: Model, path: Path, expected: str) -> list[str]:
    found = sha256_of(path)
    if found == expected:
        return []
    return [
        f"model: {model.name}: {path} has SHA-256 {found}, expected {expected}; "
        f"delete it, then `darkroom models pull {model.name}`"
    ]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def backup(settings: Settings) -> list[str]:
    """What is wrong with the backup: nothing may be written, it is late, the store has
    what it lacks, or lacks what it has.
    """
    try:
        vault = vault_of(settings)
        findings = permission(vault)
        with closing(held(vault)) as index:
            findings += late(index, settings.backup_interval_s)
            findings += in_step(settings, index, settings.backup_interval_s * LATE)
            findings += lost(settings, index)
            return findings
    except (DarkroomError, OSError) as error:
        return [f"backup: {getattr(error, 'detail', error)}"]


def permission(vault: Vault) -> list[str]:
    """Whether something may be added to the vault."""
    try:
        vault.add(f"{PROBES}/{uuid4().hex}", io.BytesIO(b"probe"))
    except (DarkroomError, OSError) as error:
        why = getattr(error, "detail", error)
        return [f"permission: nothing can be written into {vault.place}: {why}"]
    return []


def late(index: Index, interval_s: float) -> list[str]:
    """Whether the last run is older than it may be."""
    run = index.run
    assert run is not None
    age_s = (datetime.now(UTC) - run.begun).total_seconds()
    if not interval_s or age_s <= interval_s * LATE:
        return []
    return [f"standby: the last backup is {age_s:.0f} s old, every {interval_s:.0f} s"]


def in_step(settings: Settings, index: Index, grace_s: float) -> list[str]:
    """Whether the vault has everything in the store that is older than `grace_s`."""
    store = S3Store(settings)
    missing, oldest_s = 0, 0.0
    for bucket in names(settings).values():
        for info in store.list(bucket):
            if info.key.startswith(OWN) or info.key.endswith(PROBE):
                continue
            if info.age_s > grace_s and not index.holds(info):
                missing += 1
                oldest_s = max(oldest_s, info.age_s)
    if not missing:
        return []
    return [
        f"standby: {missing} objects of the store are not in the backup, the oldest for {oldest_s:.0f} s"
    ]


def lost(settings: Settings, index: Index) -> list[str]:
    """What the backup has and the stack has not: uploads and results, rows of the log.

    Objects are deleted by their owners, too: it is a loss where most are gone.
    """
    store = S3Store(settings)
    findings = []
    for role in ("uploads", "results"):
        bucket = names(settings)[role]
        known = {row.key for row in index.objects(bucket)}
        gone = known - {info.key for info in store.list(bucket)}
        if len(gone) * 2 > len(known):
            findings.append(
                f"disk: {len(gone)} of {len(known)} objects of the backup are missing in bucket {bucket!r}"
            )
    return findings + _lost_rows(settings, index)


def _lost_rows(settings: Settings, index: Index) -> list[str]:
    rows = sum(file.rows or 0 for file in index.files("table"))
    try:
        with tables.connected(settings) as connection:
            if not tables.exists(connection):
                return ["database: the log database has no schema `darkroom`"]
            if rows and tables.is_empty(connection):
                return [f"database: the log is empty, and its backup has {rows} rows"]
    except DarkroomError as error:
        return [f"database: {error.detail}"]
    return []


def of_backup(index: Index, kind: str) -> dict[str, str]:
    """Name → SHA-256 of the workflows or models in a backup."""
    return {file.name: file.sha256 for file in index.files(kind)}


def first(findings: Iterable[str]) -> list[str]:
    """Each finding once, in order."""
    return list(dict.fromkeys(findings))
