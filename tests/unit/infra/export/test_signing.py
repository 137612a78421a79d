"""Exports with content credentials, and what `darkroom verify` finds of them."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from PIL import Image
from typer.testing import CliRunner

from infra.commands.verify import app
from infra.export import signatures
from infra.export.signing import Signing
from infra.export.verify import Verified, verified
from infra.ingest import sources
from shared.credentials import confined, identity
from shared.credentials.confined import Reading
from shared.errors import SettingsError
from shared.uploads import keys
from shared.uploads.documents import Credentials, Record, Source
from shared.uploads.outcome import outcome_of
from tests.support.export_job import Job
from tests.support.extras import needs
from tests.support.signers import signer
from tests.unit.infra.export.test_export import PREMIS, rows_of

needs("c2pa", "c2pa")


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


class SignedJob(Job):
    """The job with real pictures as results, and a signer."""

    def __init__(self, folder: Path, form: Literal["embed", "sidecar"]) -> None:
        super().__init__()
        self.states = self.states[:2]
        for state, colour in zip(self.states, ("grey", "white"), strict=True):
            assert state.record
            key = state.record.result_key
            self.store.put("results", key, png(colour), "image/png")
        who = identity.load(signer(folder))
        self.roots = (folder / "root.pem").read_text()
        self.signing = Signing(self.store, "results", who, form)

    def export(self, out: Path, layout: Any, **options: Any) -> None:
        super().export(out, layout, signing=self.signing, **options)

    def know(self, record: Record) -> None:
        """The first photo has this record."""
        upload = self.states[0].upload
        assert upload
        assert upload.receipt
        upload.outcome = outcome_of(upload.receipt, record, None)

    def verified(self, out: Path) -> Verified:
        return verified(sources.opened(out), self.roots)


def mend_lists(out: Path, file: Path) -> None:
    """Make the list say of a file what somebody made of it."""
    listed = out / "checksums.sha256"
    path = file.relative_to(out).as_posix()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    lines = [
        f"{digest}  {path}" if line.endswith(f"  {path}") else line
        for line in listed.read_text().splitlines()
    ]
    listed.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("form", ["embed", "sidecar"])
def test_tampering_is_found_where_the_checksums_were_mended(
    tmp_path: Path, form: Any
) -> None:
    job = SignedJob(tmp_path, form)
    out = tmp_path / "out"
    job.export(out, "tree")
    found = job.verified(out)
    assert found.faults == []
    assert found.signers == {"Example Signer (Example Archive)": 2}
    (file,) = out.glob("objects/1931/a.png")
    data = file.read_bytes()
    place = data.index(b"IDAT") + 6
    file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    mend_lists(out, file)
    (fault,) = job.verified(out).faults
    assert (fault.code, "1931/a.png" in fault.detail) == ("bad_credentials", True)


def test_credentials_that_were_taken_away_are_missed(tmp_path: Path) -> None:
    job = SignedJob(tmp_path, "embed")
    out = tmp_path / "out"
    job.export(out, "tree")
    (file,) = out.glob("objects/1945/a.png")
    file.write_bytes(png("white"))
    mend_lists(out, file)
    (fault,) = job.verified(out).faults
    assert "has no content credentials" in fault.detail


def test_a_bag_has_them_with_its_documents(tmp_path: Path) -> None:
    """And the master lies in it to the byte."""
    job = SignedJob(tmp_path, "sidecar")
    out = tmp_path / "bag.zip"
    job.export(out, "bag")
    found = job.verified(out)
    assert (found.faults, sum(found.signers.values())) == ([], 2)
    job.export(tmp_path / "bag", "bag")
    documents = tmp_path / "bag/data/metadata/submissionDocumentation/darkroom"
    assert {file.stem for file in documents.glob("credentials/*.c2pa")} == {
        state.record.task_id for state in job.states if state.record
    }
    (result,) = tmp_path.glob("bag/data/objects/manualNormalization/*/1931/a.png")
    assert result.read_bytes() == png("grey")


def test_the_signature_is_an_event_of_the_file_that_it_changed(tmp_path: Path) -> None:
    """And every list has the checksum of what lies there."""
    job = SignedJob(tmp_path, "embed")
    out = tmp_path / "bag"
    job.export(out, "bag", events="both")
    assert job.verified(out).faults == []
    (row, _) = rows_of(out / "data/metadata/manifest.csv")
    data = (out / row["result"]).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert (row["result_sha256"], row["result_bytes"]) == (digest, str(len(data)))
    tree = ElementTree.parse(out / "data/metadata/premis.xml")
    (result,) = [
        found
        for found in tree.findall(f"{PREMIS}object")
        if found.findtext(f".//{PREMIS}messageDigest") == digest
    ]
    (event, _) = [
        found
        for found in tree.findall(f"{PREMIS}event")
        if found.findtext(f"{PREMIS}eventType") == "digital signature generation"
    ]
    linked = event.findtext(f".//{PREMIS}linkingObjectIdentifierValue")
    assert linked == result.findtext(f".//{PREMIS}objectIdentifierValue")
    identifier = event.findtext(f".//{PREMIS}eventIdentifierValue")
    links = result.iter(f"{PREMIS}linkingEventIdentifierValue")
    assert identifier in {link.text for link in links}
    detail = json.loads(event.findtext(f".//{PREMIS}eventDetail") or "")
    assert "CN=Example Signer" in detail["subject"]
    certificate = (tmp_path / "certs.pem").read_bytes()
    leaf = x509.load_pem_x509_certificate(certificate)
    fingerprint = leaf.fingerprint(hashes.SHA256()).hex()
    assert detail["certificate_sha256"] == fingerprint
    graph = json.loads((out / "data/metadata/premis.jsonld").read_text())["@graph"]
    nodes = {node["@id"]: node for node in graph}
    assert "eventType:dsg" in nodes[f"urn:uuid:{identifier}"]["@type"]


@pytest.mark.parametrize("fault", ["", "damaged", "of another result"])
def test_what_the_worker_signed_goes_out_and_is_made_anew_where_it_is_damaged(
    tmp_path: Path, fault: str
) -> None:
    is_whole = not fault
    job = SignedJob(tmp_path, "sidecar")
    job.states = job.states[:1]
    record = job.states[0].record
    assert record
    job.export(tmp_path / "before", "tree")
    (sidecar,) = tmp_path.rglob("a.png.c2pa")
    made = Credentials(
        key=keys.credentials(record.task_id),
        sha256=hashlib.sha256(sidecar.read_bytes()).hexdigest(),
        bytes=sidecar.stat().st_size,
        result_sha256="cd" * 32 if "other" in fault else record.result_sha256,
        subject="CN=The worker",
        certificate_sha256="ab" * 32,
        algorithm="es256",
        signed_at=record.finished_at,
    )
    stored = b"damaged" if fault == "damaged" else sidecar.read_bytes()
    job.store.put("results", made.key, stored, "application/c2pa")
    job.know(record.model_copy(update={"credentials": made}))
    out = tmp_path / "out"
    job.export(out, "bag")
    assert job.verified(out).faults == []
    (again,) = out.rglob("*.c2pa")
    assert (again.read_bytes() == stored) == is_whole
    (row,) = rows_of(out / "data/metadata/manifest.csv")
    assert ("signed anew" in row["notes"]) != is_whole
    told = (out / "data/metadata/premis.xml").read_text()
    assert ("CN=The worker" in told) == is_whole


def test_a_broken_original_does_not_cost_its_result_the_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = SignedJob(tmp_path, "sidecar")
    record = job.states[0].record
    assert record
    broken = png("red")[:33] + b"\x7f\xff\xff\xffcaBX" + b"jumb" * 100
    monkeypatch.setattr(
        Source, "stored", property(lambda _: job.store.put("uploads", "x", broken, ""))
    )
    job.export(tmp_path / "out", "tree")
    assert job.verified(tmp_path / "out").faults == []
    (row, _) = rows_of(tmp_path / "out/manifest.csv")
    assert "the original's content credentials were left out" in row["notes"]


def test_the_command_names_who_signed_one_picture(tmp_path: Path) -> None:
    job = SignedJob(tmp_path, "sidecar")
    job.export(tmp_path / "out", "tree")
    (file,) = tmp_path.glob("out/objects/1931/a.png")
    told = CliRunner().invoke(app, [str(file)])
    assert told.exit_code == 0
    assert "by Example Signer (Example Archive), whose root" in told.stdout
    file.with_name("a.png.c2pa").unlink()
    told = CliRunner().invoke(app, [str(file)])
    assert told.exit_code == 1


def test_a_signature_whose_certificate_has_ended_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = SignedJob(tmp_path, "sidecar")
    job.states = job.states[:1]
    job.export(tmp_path / "out", "tree")
    ended = Reading("Invalid", failures=[signatures.EXPIRED])
    monkeypatch.setattr(confined, "read", lambda *_: ended)
    (fault,) = job.verified(tmp_path / "out").faults
    assert fault.code == "bad_credentials"
    assert "the certificate of its signature has ended" in fault.detail


def test_without_the_library_signed_files_are_not_called_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = SignedJob(tmp_path, "sidecar")
    job.export(tmp_path / "out", "tree")
    monkeypatch.setattr("infra.export.signatures.find_spec", lambda name: None)
    (fault,) = job.verified(tmp_path / "out").faults
    assert "2 files are signed" in fault.detail
    with pytest.raises(SettingsError, match="c2pa"):
        CliRunner().invoke(
            app, [str(next(tmp_path.rglob("a.png")))], catch_exceptions=False
        )
