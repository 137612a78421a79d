"""What is too old leaves a backup: runs that nobody restores any more, and the blobs
that only they name, those of erased photos among them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.backup import manifest
from infra.backup.index import Index, locked
from infra.backup.manifest import File, Object, RunName
from infra.backup.run import index_of
from infra.backup.vault import BLOBS, Vault
from shared.errors import Code, NotFound, PermanentError, StorageUnavailable
from shared.runtime.failpoints import passing
from shared.runtime.settings import Settings

MOST_NAMED = 20


@dataclass
class Pruned:
    """What left the vault, or would leave it. `oldest`: the earliest run that can still
    be restored.
    """

    place: str
    dry_run: bool
    oldest: str = ""
    runs: int = 0
    blobs: int = 0
    findings: list[str] = field(default_factory=list)

    def printed(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def prune(
    settings: Settings, vault: Vault, keep_days: float, dry_run: bool = False
) -> Pruned:
    """Delete the runs that no state of the last `keep_days` days needs, then every blob
    that the others do not name.

    No backup of this stack runs meanwhile. What is interrupted is gone on with by the
    next call: a run goes before its blobs. Raises `NotFound` for a vault without a
    backup, `PermanentError` where a manifest that stays cannot be read: nothing is
    deleted then.
    """
    path = index_of(settings, vault)
    with locked(path.with_suffix(".lock")):
        known = manifest.runs(vault)
        kept = _kept(vault, known, datetime.now(UTC) - timedelta(days=keep_days))
        report = Pruned(vault.place, dry_run, oldest=kept[0].name)
        with closing(_Checksums()) as named:
            for run in kept:
                named.add(_checksums(vault, run))
            if path.exists():
                # An interrupted run goes on with what it has sent, which no manifest
                # names yet.
                with closing(Index(path)) as index:
                    named.add(index.checksums())
            old = known[: -len(kept)]
            report.runs = _delete(vault, report, (run.name for run in old))
            passing("backup.after_runs")
            unnamed = (name for name in vault.names(BLOBS) if not named.has(name))
            report.blobs = _delete(vault, report, unnamed)
    return report


def _kept(vault: Vault, known: list[RunName], since: datetime) -> list[RunName]:
    """The runs from the full one on which the state at `since` rests."""
    if not known:
        raise NotFound(Code.BAD_DOCUMENT, f"{vault.place} holds no backup")
    until = [
        number for number, run in enumerate(known) if run.is_full and run.begun <= since
    ]
    return known[until[-1] :] if until else known


def _checksums(vault: Vault, run: RunName) -> Iterator[str]:
    for row in manifest.read(vault, run):
        if isinstance(row, Object | File):
            yield row.sha256


def _delete(vault: Vault, report: Pruned, names: Iterator[str]) -> int:
    """Delete entries; returns how many. A refusal costs only its own entry."""
    deleted = 0
    for name in names:
        try:
            if not report.dry_run:
                vault.delete(name)
        except (PermanentError, StorageUnavailable, PermissionError) as error:
            if len(report.findings) < MOST_NAMED:
                report.findings.append(f"{name} could not be deleted: {error}")
        else:
            deleted += 1
    return deleted


class _Checksums:
    """Checksums in a temporary file, however many there are."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("")
        self._base.execute("create table named (sha256 text primary key) without rowid")

    def add(self, checksums: Iterator[str]) -> None:
        self._base.executemany(
            "insert or ignore into named values (?)",
            ((sha256,) for sha256 in checksums),
        )

    def has(self, name: str) -> bool:
        sha256 = name.rpartition("/")[2]
        found = self._base.execute("select 1 from named where sha256 = ?", (sha256,))
        return found.fetchone() is not None

    def close(self) -> None:
        self._base.close()
