"""Content credentials made and read apart, by the real library."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image

from shared.credentials import confined, identity
from shared.credentials.confined import CredentialFault, Reading
from shared.credentials.definition import definition, parent
from shared.credentials.identity import Identity
from shared.uploads.documents import ModelRef, Record, Skipped, StepTime
from tests.support.extras import needs
from tests.support.reconcile_world import Town
from tests.support.records import record_of
from tests.support.signers import signer

needs("c2pa", "c2pa")


def picture(side: int = 64) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


FileOf = Callable[[bytes], IO[bytes]]


@pytest.fixture
def file_of() -> Iterator[FileOf]:
    """Makes unnamed files of bytes."""
    with ExitStack() as files:

        def made(data: bytes) -> IO[bytes]:
            file = files.enter_context(TemporaryFile())
            file.write(data)
            file.flush()
            return file

        yield made


@pytest.fixture(scope="module")
def who(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identity, str]:
    """A signer, and the root that it is trusted by."""
    folder = tmp_path_factory.mktemp("signer")
    found = identity.load(signer(folder))
    return found, (folder / "root.pem").read_text()


def record(**changes: Any) -> Record:
    town = Town()
    receipt = town.receipt(town.upload("family at the lake.png"))
    made = {
        "steps": [
            StepTime(step="colorize", seconds=1, model="ddcolor"),
            StepTime(
                step="faces",
                seconds=0,
                skipped=Skipped(code="sharp", because="the faces are sharp"),
            ),
            StepTime(step="upscale", seconds=1, model="fast", detail={"scale": 4}),
            StepTime(step="encode", seconds=1),
        ],
        "models": [
            ModelRef(name="ddcolor", sha256="ab" * 32),
            ModelRef(name="fast", sha256="cd" * 32),
        ],
    }
    return record_of(receipt, receipt.decided_at, **made | changes)


Sign = Callable[..., tuple[bytes, Reading | None]]


@pytest.fixture
def signed(who: tuple[Identity, str], file_of: FileOf) -> Sign:
    """Signs a picture, whose original may be told."""

    def made(original: bytes | None, *, embeds: bool) -> tuple[bytes, Reading | None]:
        found = record()
        out = file_of(b"")
        carried = confined.sign(
            who[0],
            definition(found, found.result_key),
            parent(found),
            file_of(picture()),
            file_of(original) if original else None,
            out,
            embeds=embeds,
        )
        out.seek(0)
        return out.read(), carried

    return made


def test_what_is_said_of_a_result() -> None:
    """Each step that was done, its source type, its model by checksum; no file's name."""
    found = record()
    told = definition(found, found.result_key)
    actions, facts = told["assertions"]
    by_name = {each["action"]: each for each in actions["data"]["actions"]}
    assert list(by_name) == [
        "c2pa.opened",
        "c2pa.adjustedColor",
        "c2pa.enhanced",
        "c2pa.resized.proportional",
    ]
    colour, larger = by_name["c2pa.adjustedColor"], by_name["c2pa.enhanced"]
    assert colour["digitalSourceType"].endswith("compositeWithTrainedAlgorithmicMedia")
    assert larger["digitalSourceType"].endswith("algorithmicallyEnhanced")
    assert larger["parameters"]["org.darkroom.model"] == {
        "name": "fast",
        "sha256": "cd" * 32,
    }
    assert facts["data"]["source"]["sha256"] == found.source.sha256
    assert "lake" not in json.dumps([told, parent(found)])


def test_an_embedded_signature_is_found_and_tampering_is(
    who: tuple[Identity, str], signed: Sign, file_of: FileOf
) -> None:
    data, carried = signed(picture(side=32), embeds=True)
    assert carried is None
    found = confined.read(file_of(data), "image/png", None, who[1])
    assert (found.state, found.name) == ("Trusted", "Example Signer")
    assert confined.read(file_of(data), "image/png", None).state == "Valid"
    place = data.index(b"IDAT") + 1000
    changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    found = confined.read(file_of(changed), "image/png", None)
    assert found.failures == ["assertion.dataHash.mismatch"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_every_format_that_is_handed_out_is_signed_in_the_file(
    who: tuple[Identity, str], file_of: FileOf, kind: str
) -> None:
    """It has the same pixels afterwards, and a change of one is found."""
    plain = io.BytesIO()
    Image.open(io.BytesIO(picture())).save(plain, kind)
    found, name, out = record(), f"a.{kind.lower()}", file_of(b"")
    confined.sign(
        who[0],
        definition(found, name),
        parent(found),
        file_of(plain.getvalue()),
        None,
        out,
        embeds=True,
    )
    out.seek(0)
    data, media = out.read(), f"image/{kind.lower()}"
    assert confined.read(file_of(data), media, None, who[1]).state == "Trusted"
    shown, meant = (np.asarray(Image.open(file)) for file in (io.BytesIO(data), plain))
    assert np.array_equal(shown, meant)
    middle = len(plain.getvalue()) // 2
    place = data.index(plain.getvalue()[middle : middle + 16])
    changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    assert confined.read(file_of(changed), media, None).state == "Invalid"


def test_a_sidecar_leaves_the_picture_as_it_is(signed: Sign, file_of: FileOf) -> None:
    manifest, _ = signed(picture(side=32), embeds=False)
    assert len(manifest) < 50_000
    for data, state in ((picture(), "Valid"), (picture(side=65), "Invalid")):
        found = confined.read(file_of(data), "image/png", file_of(manifest))
        assert found.state == state


def test_the_originals_own_credentials_are_carried_and_their_faults_told(
    signed: Sign, file_of: FileOf
) -> None:
    original, _ = signed(None, embeds=True)
    data, carried = signed(original, embeds=True)
    assert carried
    assert carried.is_valid
    assert data.count(b"c2pa.signature") > original.count(b"c2pa.signature")
    place = original.index(b"IDAT") + 1000
    changed = original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :]
    data, carried = signed(changed, embeds=True)
    assert carried
    assert carried.failures == ["assertion.dataHash.mismatch"]
    assert confined.read(file_of(data), "image/png", None).state == "Valid"


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def with_manifest(data: bytes) -> bytes:
    """A PNG that claims to carry these credentials."""
    plain = picture()
    return plain[:33] + chunk(b"caBX", data) + plain[33:]


NESTED = struct.pack(">I4s", 1 << 31, b"jumb") * 50_000
HOSTILE: dict[str, Callable[[], bytes]] = {
    "nonsense": lambda: with_manifest(b"nonsense"),
    "nested": lambda: with_manifest(NESTED),
    "huge": lambda: with_manifest(bytes(64 << 20)),
    "cut off": lambda: with_manifest(bytes(1000))[:200],
    "no picture": lambda: b"\0" * 1000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_credentials_cost_only_themselves(file_of: FileOf, name: str) -> None:
    data = HOSTILE[name]()
    with pytest.raises(CredentialFault):
        confined.read(file_of(data), "image/png", None)


def sign_beside(identity: Identity, file_of: FileOf) -> None:
    result = record()
    confined.sign(
        identity,
        definition(result, result.result_key),
        parent(result),
        file_of(picture()),
        None,
        file_of(b""),
        embeds=False,
    )


def test_the_password_of_an_authority_is_in_no_error(
    who: tuple[Identity, str], file_of: FileOf
) -> None:
    away = replace(who[0], tsa_url="http://me:s3cret@127.0.0.1:9/")
    with pytest.raises(CredentialFault, match=r"http://\*\*\*@127") as fault:
        sign_beside(away, file_of)
    assert "s3cret" not in str(fault.value)


def test_a_signer_that_is_taken_over_gets_one_signature(
    monkeypatch: pytest.MonkeyPatch, who: tuple[Identity, str], file_of: FileOf
) -> None:
    monkeypatch.setattr(confined, "CHILD", "tests.support.bad_reader")
    made: list[bytes] = []

    def sign(data: bytes) -> bytes:
        made.append(data)
        return data

    with pytest.raises(CredentialFault):
        sign_beside(replace(who[0], sign=sign), file_of)
    assert made == [b"a"]


@pytest.mark.parametrize("answer", ["[]", "{}", '{"state": "Valid", "failures": 1}'])
def test_an_answer_that_is_none_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, file_of: FileOf, answer: str
) -> None:
    monkeypatch.setattr(confined, "_answer", lambda *_: json.loads(answer))
    with pytest.raises(CredentialFault):
        confined.read(file_of(picture()), "image/png", None)


def test_a_reader_that_is_taken_over_has_neither_key_nor_time(
    monkeypatch: pytest.MonkeyPatch, file_of: FileOf
) -> None:
    """One that asks for a signature while it reads, and one that never answers."""
    monkeypatch.setattr(confined, "CHILD", "tests.support.bad_reader")
    with pytest.raises(CredentialFault):
        confined.read(file_of(picture()), "image/png", None)
    monkeypatch.setattr(confined, "CHILD", "tests.support.silent_reader")
    monkeypatch.setattr(confined, "BASE_S", 0.5)
    with pytest.raises(CredentialFault, match="longer than they may"):
        confined.read(file_of(picture()), "image/png", None)
