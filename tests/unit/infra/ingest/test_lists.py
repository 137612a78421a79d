"""Lists of checksums, manifests, and what a source says of itself by them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from infra.ingest import checksums, inventory, manifest, sources
from infra.ingest.inventory import Inventory
from shared.errors import SettingsError

MD5, SHA256 = "0" * 32, "a" * 64


@pytest.mark.parametrize(
    ("line", "path", "algorithm"),
    [
        (f"{SHA256}  a.jpg", "a.jpg", "sha256"),
        (f"{SHA256} *./b/a b.jpg", "b/a b.jpg", "sha256"),
        (f"\\{SHA256}  new\\nline.jpg", "new\nline.jpg", "sha256"),
        (f"SHA256 (a.jpg) = {SHA256}", "a.jpg", "sha256"),
        (f"SHA2-256(a.jpg)= {SHA256}", "a.jpg", "sha256"),
        (f"MD5 (a.jpg) = {MD5}", "a.jpg", "md5"),
        (f"{MD5}  a.jpg", "a.jpg", "md5"),
    ],
)
def test_every_usual_form_of_a_checksum_is_read(
    line: str, path: str, algorithm: str
) -> None:
    (found,) = checksums.parse(f"\ufeff{line}\r\n", "list").items()
    assert (found[0], found[1].algorithm) == (path, algorithm)


@pytest.mark.parametrize(
    "line",
    [
        f"{SHA256}\ta.jpg",
        "a.jpg",
        f"{'a' * 33}  a.jpg",
        f"SHA1 (a.jpg) = {SHA256}",
        f"{SHA256}  a.jpg\n{'b' * 64}  a.jpg",
    ],
)
def test_a_line_that_cannot_be_read_is_never_skipped(line: str) -> None:
    with pytest.raises(SettingsError, match=r"list, line [12]"):
        checksums.parse(line, "list")


def test_a_bad_row_costs_its_own_photo() -> None:
    text = 'filename,params,bytes\na.jpg,"{""scale"": 2}",3\nb.jpg,{,\nc.jpg,,x\nd.jpg,,,,\n'
    rows = manifest.parse(text.encode("utf-8-sig"), "m.csv").rows
    assert rows["a.jpg"].params == {"scale": 2}
    assert rows["a.jpg"].size == 3
    faults = {path: row.fault for path, row in rows.items() if row.fault}
    assert sorted(faults) == ["b.jpg", "c.jpg", "d.jpg"]
    assert all(fault.code == "bad_manifest_row" for fault in faults.values())
    assert "m.csv, line 3" in faults["b.jpg"].detail


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"name\na.jpg\n", "has no column `filename`"),
        (b"", "has no column `filename`"),
        (b"filename\n\xff.jpg\n", "not UTF-8"),
        (b"filename\na.jpg\na.jpg\n", "a second row"),
        (b"filename,x\n,y\n", "no file name"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        manifest.parse(data, "m.csv")


def folder_of(place: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
    return place


def taken(place: Path, **options: bool) -> Inventory:
    return inventory.taken(sources.opened(place), **options)  # type: ignore[arg-type]


def faults_of(found: Inventory) -> dict[str, str]:
    return {refused.path: refused.fault.code for refused in found.faults}


def test_a_folder_is_sorted_into_photos_and_the_rest(tmp_path: Path) -> None:
    files = dict.fromkeys(
        (
            "1931/a.JPG",
            "1945/a.HEIF",
            "b.jfif",
            "b.xmp",
            "notes.txt",
            "a_b.jpg",
            "a.jpg",
        ),
        b"x",
    )
    found = taken(folder_of(tmp_path, files))
    assert set(found.photos) == {"1931/a.JPG", "1945/a.HEIF", "b.jfif", "a.jpg"}
    assert found.skipped == {
        "b.xmp": "sidecar that cannot be read: syntax error: line 1, column 0",
        "notes.txt": "no photo (.txt)",
        "a_b.jpg": "back of a print, carried along",
    }
    assert not found.faults


def test_lists_beside_photos_are_found_and_compared(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    files = {
        "objects/a.jpg": b"x",
        "objects/b.jpg": b"x",
        "metadata/checksum.sha256": f"{digest}  objects/a.jpg\n{digest}  objects/gone.jpg\n".encode(),
        "metadata/metadata.csv": b"filename,dc.title\nobjects/a.jpg,Grandma\nobjects/lost.jpg,\n",
        "metadata/submissionDocumentation/scan.jpg": b"x",
    }
    found = taken(folder_of(tmp_path, files))
    assert set(found.photos) == {"objects/a.jpg", "objects/b.jpg"}
    assert faults_of(found) == {
        "objects/gone.jpg": "missing_in_source",
        "objects/lost.jpg": "missing_in_source",
    }
    row = found.row_of("objects/a.jpg")
    assert row is not None
    assert row.words["dc.title"] == "Grandma"
    checksum = found.checksum_of("objects/a.jpg")
    assert checksum is not None
    assert checksum.digest == digest
    strict = taken(tmp_path, require_checksums=True)
    assert faults_of(strict)["objects/b.jpg"] == "unlisted_in_manifest"
    assert set(strict.photos) == {"objects/a.jpg"}


def test_a_bag_lists_every_photo_of_its_payload(tmp_path: Path) -> None:
    """By either spelling of a percent sign, and with line breaks in names; what lies
    beside the payload is none.
    """
    names = ("a.jpg", "50%25.jpg", "9%.jpg", "two%0Alines.jpg", "and%0Da%250A.jpg")
    lines = "".join(f"{SHA256}  data/{name}\n" for name in names)
    files = {
        "bagit.txt": b"BagIt-Version: 1.0\n",
        "manifest-sha256.txt": lines.encode(),
        "data/a.jpg": b"x",
        "data/50%.jpg": b"x",
        "data/9%.jpg": b"x",
        "data/two\nlines.jpg": b"x",
        "data/and\ra%0A.jpg": b"x",
        "data/unlisted.jpg": b"x",
        "cover.jpg": b"x",
    }
    found = taken(folder_of(tmp_path, files))
    assert set(found.photos) == {
        "data/a.jpg",
        "data/50%.jpg",
        "data/9%.jpg",
        "data/two\nlines.jpg",
        "data/and\ra%0A.jpg",
    }
    assert faults_of(found) == {"data/unlisted.jpg": "unlisted_in_manifest"}
    assert found.skipped["cover.jpg"] == "beside the bag's data"
    (tmp_path / "fetch.txt").write_text("file:///etc/passwd 1 data/a.jpg\n")
    with pytest.raises(SettingsError, match="asks for files from elsewhere"):
        taken(tmp_path)


def test_a_dry_run_says_everything_that_is_wrong_at_once(tmp_path: Path) -> None:
    files = {
        "a.jpg": b"x",
        "b.jpg": b"x",
        "bad.jpg": b"y",
        "big.jpg": bytes(11),
        "list.sha256": f"{SHA256}  bad.jpg\n{SHA256}  gone.jpg\n".encode(),
    }
    source = sources.opened(folder_of(tmp_path, files))
    found = inventory.taken(source)
    twins = inventory.read_all(source, found, 10)
    assert twins.by_path == {"b.jpg": "a.jpg"}
    assert faults_of(found) == {
        "gone.jpg": "missing_in_source",
        "bad.jpg": "checksum_mismatch",
        "big.jpg": "too_large",
    }
