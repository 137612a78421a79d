"""A backup comes back on servers that an operator runs, as `docs/how-to/back-up.md`
has it: no state folder, and nothing embedded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from handlers.audit_log.database import AuditLog
from handlers.audit_log.values import Filter
from infra.local.stack import Stack
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import keys
from tests.conftest import darkroom, only_servers
from tests.support.pictures import photo_like


@pytest.fixture(scope="module")
def folder(
    state_dir: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The state folder of a stack that restored one photo, was backed up, and is no
    more.
    """
    found = state_dir("lost")
    photo = tmp_path_factory.mktemp("photos") / "photo.png"
    Image.fromarray(photo_like(40, 56)).save(photo)
    # A stack that backs itself up has a key for it.
    backed_up = {"DARKROOM_BACKUP_INTERVAL_S": "3600"}
    up = darkroom("up", "--detach", state_dir=found, **backed_up)
    assert up.returncode == 0, up.stderr
    try:
        sent = darkroom("submit", str(photo), "--wait", state_dir=found)
        assert sent.returncode == 0, sent.stdout
        kept = darkroom("backup", state_dir=found)
        assert kept.returncode == 0, kept.stderr
    finally:
        darkroom("down", state_dir=found)
    return found


def environment_of(target: Stack, lost: Settings) -> dict[str, str]:
    """What an operator sets: addresses and keys of the servers, and the old pepper."""
    admin = target.as_admin
    return {
        "DARKROOM_S3_ENDPOINT_URL": admin.s3_endpoint_url,
        "DARKROOM_S3_ACCESS_KEY": admin.s3_access_key.get_secret_value(),
        "DARKROOM_S3_SECRET_KEY": admin.s3_secret_key.get_secret_value(),
        "DARKROOM_DATABASE_URL": admin.database_url.get_secret_value(),
        "DARKROOM_PEPPER": lost.pepper.get_secret_value(),
    }


def test_everything_comes_back_once(
    folder: Path, state_dir: Callable[[str], Path], tmp_path: Path
) -> None:
    lost = Settings.load(state_dir=folder)
    vault = f"{folder}-backup"
    with only_servers(state_dir("target")) as target:
        environment = environment_of(target, lost)
        arguments = ("restore", "--from", vault, "--json")
        done = darkroom(*arguments, state_dir=tmp_path / "none", **environment)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        assert report["checksum_mismatches"] == 0
        book = AuditLog(target.settings)
        (row,) = book.page(Filter(), 10)
        book.close()
        assert row.status == "success"
        store = S3Store(target.as_admin)
        results = target.settings.bucket_results
        record = json.loads(store.read(results, keys.record(str(row.task_id))))
        result = store.read(results, record["result_key"])
        assert hashlib.sha256(result).hexdigest() == record["result_sha256"]
        again = darkroom(*arguments, state_dir=tmp_path / "none", **environment)
        assert again.returncode != 0
        assert "is not empty" in again.stderr
