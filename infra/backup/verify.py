"""Read a whole backup and compare every checksum."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.backup.index import held
from infra.backup.vault import Vault, checked
from shared.errors import PermanentError


@dataclass
class Verified:
    """What was read, and which blobs are missing or altered."""

    place: str
    blobs: int = 0
    bytes: int = 0
    findings: list[str] = field(default_factory=list)

    def printed(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def verified(vault: Vault) -> Verified:
    """Read every blob of the last run, each once, and try what the account may do."""
    report = Verified(vault.place, findings=vault.laxities())
    with closing(held(vault)) as index:
        for sha256 in index.checksums():
            try:
                for chunk in checked(vault, sha256):
                    report.bytes += len(chunk)
            except PermanentError as error:
                whose = ", ".join(index.names_of(sha256))
                report.findings.append(f"{whose}: {error.detail}")
            report.blobs += 1
    return report
