"""Content credentials beside a result: where they are wanted, and only there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from gpu_worker.codec.metadata import C2PA_LEFT_OUT
from gpu_worker.photo import Photo
from gpu_worker.pipeline import sidecars
from gpu_worker.pipeline.job import Job
from gpu_worker.restore import Restored
from shared.credentials import confined, identity, signing
from shared.credentials.confined import CredentialFault
from shared.errors import SettingsError, StorageUnavailable
from shared.uploads import keys
from shared.uploads.documents import Credentials, Record
from shared.workflows import resolve
from tests.support.extras import needs
from tests.support.pictures import photo_like
from tests.support.signers import signer
from tests.support.upload_world import World, photo
from tests.support.worker_rig import WorkerRig

needs("c2pa", "c2pa")


def _signing(folder: Path) -> dict[str, Any]:
    settings = signer(folder)
    return {**settings.model_dump(), "c2pa_sign": "sidecar"}


def _rig(settings: dict[str, Any]) -> WorkerRig:
    rig = WorkerRig(World(settings=settings))
    rig.upload("a.png", photo())
    return rig


def _restored(rig: WorkerRig, *notes: str) -> Job:
    job = rig.begin()
    job.workflow = resolve("fast")
    job.restored = Restored(
        Photo(photo_like(200, 300), notes=notes), [], {}, "ncnn", "cpu", 1
    )
    return job


def _record(rig: WorkerRig) -> Record:
    key = keys.record(rig.task_id)
    return Record.from_bytes(rig.world.store.read("results", key), key)


def _read_back(rig: WorkerRig, record: Record, roots: str) -> str:
    """The state of the sidecar that a record names, to who knows the root."""
    assert record.credentials
    with TemporaryFile() as picture, TemporaryFile() as sidecar:
        picture.write(rig.world.store.read("results", record.result_key))
        sidecar.write(rig.world.store.read("results", record.credentials.key))
        picture.flush()
        sidecar.flush()
        return confined.read(picture, "image/png", sidecar, roots).state


def test_a_result_is_signed_beside_itself_and_keeps_its_bytes(tmp_path: Path) -> None:
    """The record names the sidecar and its checksum; erasing the photo takes it away."""
    plain = _rig({})
    plain.store_result(_restored(plain))
    rig = _rig(_signing(tmp_path))
    rig.store_result(_restored(rig))
    record = _record(rig)
    assert record.result_sha256 == _record(plain).result_sha256
    assert _record(plain).credentials is None
    found = record.credentials
    assert found
    assert found.key == f"credentials/{rig.task_id}.c2pa"
    data = rig.world.store.read("results", found.key)
    assert (found.sha256, found.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert "CN=Example Signer" in found.subject
    assert _read_back(rig, record, (tmp_path / "root.pem").read_text()) == "Trusted"
    stored = rig.world.store.head("results", found.key)
    assert Credentials.of_object(stored) == found
    rig.erase()
    assert found.key not in rig.world.store.keys("results")


def test_an_originals_own_credentials_are_carried_along(tmp_path: Path) -> None:
    settings = _signing(tmp_path)
    first = _rig(settings)
    first.store_result(_restored(first))
    record = _record(first)
    who = identity.load(first.ctx.settings)
    with TemporaryFile() as plain, TemporaryFile() as signed:
        plain.write(first.world.store.read("results", record.result_key))
        plain.flush()
        signing.sign(who, record, record.result_key, plain, None, signed, embeds=True)
        signed.seek(0)
        rig = WorkerRig(World(settings=settings))
        rig.upload("b.png", signed.read())
    rig.store_result(_restored(rig, C2PA_LEFT_OUT))
    carried = "the original's content credentials are carried along"
    assert _record(rig).notes == [C2PA_LEFT_OUT, carried]


def test_a_signer_that_fails_costs_no_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its words, which may name accounts, stay in the log."""

    def failing(*_: Any, **__: Any) -> None:
        raise SettingsError("KMS said no to arn:aws:kms:1:2:3")

    monkeypatch.setattr(signing, "sign", failing)
    rig = _rig(_signing(tmp_path))
    rig.store_result(_restored(rig))
    record = _record(rig)
    assert record.credentials is None
    assert record.notes[-1] == sidecars.NOT_MADE
    assert rig.settled == (1, "")
    assert keys.credentials(rig.task_id) not in rig.world.store.keys("results")


def test_a_signer_that_is_away_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next photos go on without it, until it is tried again."""
    rig = _rig(_signing(tmp_path))
    asked = []

    def silent(*_: Any, **__: Any) -> None:
        asked.append(1)
        rig.world.clock.advance(60)
        raise CredentialFault("it took longer than it may")

    monkeypatch.setattr(signing, "sign", silent)
    for number in range(3):
        rig.upload(f"{number}.png", photo(colour=number))
        rig.store_result(_restored(rig))
        assert _record(rig).notes == [sidecars.NOT_MADE]
    assert len(asked) == 1
    monkeypatch.undo()
    rig.world.clock.advance(600)
    rig.upload("later.png", photo(colour=9))
    rig.store_result(_restored(rig))
    assert _record(rig).credentials


def test_what_an_earlier_attempt_stored_stands(tmp_path: Path) -> None:
    """The record tells the truth of whatever lies there, also of another result."""
    rig = _rig(_signing(tmp_path))
    earlier = photo(size=(300, 200))
    digest = hashlib.sha256(earlier).hexdigest()
    said = {"sha256": digest, "bytes": str(len(earlier))}
    store = rig.world.store
    store.put("results", keys.result(rig.task_id), earlier, "image/png", said)
    rig.store_result(_restored(rig))
    record = _record(rig)
    assert record.result_sha256 == digest
    assert _read_back(rig, record, "") == "Valid"
    first = record.credentials
    store.delete("results", keys.record(rig.task_id))
    rig.store_result(_restored(rig))
    assert _record(rig).credentials == first


def test_a_sidecar_of_other_bytes_is_written_over(tmp_path: Path) -> None:
    rig = _rig(_signing(tmp_path))
    key = keys.credentials(rig.task_id)
    rig.world.store.put("results", key, b"another", "application/c2pa", {})
    rig.store_result(_restored(rig))
    assert _read_back(rig, _record(rig), "") == "Valid"


def test_a_store_that_is_away_costs_the_attempt_not_the_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = _rig(_signing(tmp_path))
    job, put_new = _restored(rig), rig.world.store.put_new

    def away(bucket: str, key: str, *rest: Any) -> bool:
        if key.startswith("credentials/"):
            raise StorageUnavailable("away")
        return put_new(bucket, key, *rest)

    monkeypatch.setattr(rig.world.store, "put_new", away)
    with pytest.raises(StorageUnavailable):
        rig.store_result(job)
    assert keys.record(rig.task_id) not in rig.world.store.keys("results")


def test_a_worker_that_could_not_sign_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _signing(tmp_path)
    with pytest.raises(SettingsError, match="DARKROOM_C2PA_CERTS"):
        WorkerRig(World(settings={"c2pa_sign": "sidecar"}))
    monkeypatch.setattr("gpu_worker.pipeline.sidecars.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"DARKROOM_C2PA_SIGN=sidecar needs c2pa"):
        WorkerRig(World(settings=wanted))
