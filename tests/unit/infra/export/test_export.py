"""What goes out: names, layouts, bags and events."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from infra.commands import export as command
from infra.export import premis, sinks
from infra.export.encoding import Encoding
from infra.export.handed import results_in
from infra.export.layouts import Export, Layout, Stack
from infra.export.verify import verified
from infra.ingest import inventory, sources
from infra.ingest.members import ItemFault, Member
from shared.errors import PermanentError, SettingsError
from shared.uploads.ingests import SkippedFile
from shared.uploads.names import Names, safe_path
from tests.support.export_job import DAY, Job
from tests.unit.infra.ingest.test_sources import ODD

PREMIS = "{http://www.loc.gov/premis/v3}"


def test_names_are_taken_by_every_system() -> None:
    assert safe_path("a/b: 50%?.jpg") == "a/b_ 50__.jpg"
    assert safe_path("con.jpg/nul/x. .png ") == "_con.jpg/_nul/x. .png"
    assert len(safe_path("祖" * 200 + ".jpg").encode()) <= 200
    assert safe_path("祖" * 200 + ".jpg").endswith("祖.jpg")


def test_every_photo_has_a_name_of_its_own() -> None:
    """Two originals with one stem, two that differ in case, two forms of one letter."""
    names = Names()
    given = [
        names.name_for(path, ".png")
        for path in ("1/a.tif", "1/a.jpg", "1/A.jpg", "2/a.jpg", "e\u0301.jpg", "é.jpg")
    ]
    assert given == [
        "1/a.png",
        "1/a.jpg.png",
        "1/A.jpg (2).png",
        "2/a.png",
        "é.png",
        "é.jpg.png",
    ]


@pytest.fixture
def job() -> Job:
    return Job()


def files_of(place: Path) -> set[str]:
    return {
        path.relative_to(place).as_posix()
        for path in place.rglob("*")
        if path.is_file()
    }


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def test_the_same_tree_comes_out(job: Job, tmp_path: Path) -> None:
    job.export(tmp_path / "out", "tree")
    assert files_of(tmp_path / "out") == {
        "objects/1931/a.png",
        "objects/1945/a.png",
        "objects/1945/twin.png",
        "manifest.csv",
        "failed.csv",
        "checksums.sha256",
    }
    rows = rows_of(tmp_path / "out" / "manifest.csv")
    assert [row["status"] for row in rows] == ["restored"] * 3 + ["unsent"]
    (failed,) = rows_of(tmp_path / "out" / "failed.csv")
    assert failed == {
        "dc.title": "Grandpa",
        "filename": "objects/b.jpg",
        "error_code": "checksum_mismatch",
        "error_detail": "differs",
    }


def test_copies_go_out_and_one_that_was_never_made_is_told(
    job: Job, tmp_path: Path
) -> None:
    job.export(tmp_path / "out", "tree", formats=["jpeg"])
    found = {name for name in files_of(tmp_path / "out") if "/" in name}
    assert found == {"objects/1931/a.jpg"}
    first, second, *_ = rows_of(tmp_path / "out" / "manifest.csv")
    assert first["result"] == "objects/1931/a.jpg"
    assert second["notes"] == "of jpeg there is none"
    assert job.lacking == 2


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Encoding]:
    """The stand-in of an encoder, in a process of its own as the real one."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[4]))
    with Encoding("tests.support.stand_in_encoder") as found:
        yield found


def test_what_was_not_asked_for_is_encoded_at_export(
    job: Job, tmp_path: Path, encoding: Encoding
) -> None:
    """The copy that there is stays as it is; one that cannot be made is told."""
    job.export(tmp_path / "out", "tree", formats=["jpeg", "webp"], encoding=encoding)
    out = tmp_path / "out" / "objects"
    assert (out / "1931" / "a.jpg").read_text() == "copy"
    assert (out / "1945" / "a.jpg").read_text() == "jpeg"
    rows = rows_of(tmp_path / "out" / "manifest.csv")
    assert "no WEBP copy was made" in rows[1]["notes"]
    assert not verified(sources.opened(tmp_path / "out")).faults


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["png", "labelled"], {"a labelled.jpg": "jpeg labelled"}),
        (
            ["tiff", "jp2", "labelled"],
            {
                "a.tif": "tiff",
                "a.jp2": "jp2",
                "a labelled.tif": "tiff labelled",
                "a labelled.jp2": "jp2 labelled",
            },
        ),
    ],
)
def test_labelled_copies_are_made_of_each_format_or_of_jpeg(
    job: Job, tmp_path: Path, encoding: Encoding, words: list[str], made: dict[str, str]
) -> None:
    job.states = job.states[1:2]
    job.export(tmp_path / "out", "tree", formats=words, encoding=encoding)
    folder = tmp_path / "out/objects/1945"
    found = {file.name: file.read_text() for file in folder.iterdir()}
    found.pop("a.png", None)
    assert found == made
    assert job.lacking == 0


def test_an_encoder_that_ends_ends_the_export(
    job: Job, tmp_path: Path, encoding: Encoding
) -> None:
    with pytest.raises(PermanentError, match="the encoder of copies ended"):
        job.export(tmp_path / "out", "tree", formats=["avif"], encoding=encoding)


def test_a_table_carries_the_words_of_the_source(job: Job, tmp_path: Path) -> None:
    """For systems that load a CSV with a column `file`."""
    job.export(tmp_path / "out", "csv")
    row = rows_of(tmp_path / "out" / "manifest.csv")[0]
    assert row["file"] == "files/1931/a.png"
    assert row["dc.title"] == "="
    assert (tmp_path / "out" / row["file"]).is_file()


def test_an_access_copy_is_an_object_of_its_own(job: Job, tmp_path: Path) -> None:
    """Events are about the file that lies there."""
    job.states = job.states[:1]
    job.export(tmp_path / "out", "archivematica", formats=["jpeg"], events="both")
    metadata = tmp_path / "out" / "metadata"
    tree = ElementTree.parse(metadata / "premis.xml")
    assert (metadata / "premis.jsonld").is_file()
    _, result = tree.findall(f"{PREMIS}object")
    identifier = result.findtext(f".//{PREMIS}objectIdentifierValue")
    assert result.findtext(f".//{PREMIS}messageDigest") == "ab" * 32
    for event in tree.findall(f"{PREMIS}event"):
        linked = event.findall(f".//{PREMIS}linkingObjectIdentifierValue")
        assert linked[1].text == identifier


def test_a_bucket_takes_an_export_once(job: Job) -> None:
    sink = sinks.BucketSink("s3://archive/out", job.store)
    export = Export(job.store, job.settings, sink, "tree")
    for state in job.states:
        export.add(state)
    export.finish("album", DAY)
    assert job.store.read("archive", "out/objects/1931/a.png") == b"result"
    assert set(sink.written) >= {"manifest.csv", "checksums.sha256"}
    with pytest.raises(SettingsError, match="already"):
        sinks.BucketSink("s3://archive/out", job.store)


def test_an_album_has_the_original_beside_the_result(job: Job, tmp_path: Path) -> None:
    job.export(tmp_path / "out", "album")
    assert {"objects/1931/a.jpg", "objects/1931/a (restored).png"} <= files_of(
        tmp_path / "out"
    )


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_an_album_keeps_the_times_of_its_files(
    job: Job, tmp_path: Path, suffix: str
) -> None:
    """Of the original and of what came of it, however it is packed."""
    then = datetime(1998, 7, 4, 12, 30, tzinfo=UTC)
    item = job.states[0].item.model_copy(update={"modified_at": then})
    job.states = [replace(job.states[0], item=item)]
    out = tmp_path / f"out{suffix}"
    job.export(out, "album")
    times = {
        member.path: member.modified_at
        for member in sources.opened(out).members()
        if isinstance(member, Member) and member.path.startswith("objects/")
    }
    places = ("objects/1931/a.jpg", "objects/1931/a (restored).png")
    assert times == dict.fromkeys(places, then)


@pytest.mark.parametrize("layout", ["album", "bag"])
def test_what_was_not_sent_is_told(job: Job, tmp_path: Path, layout: Layout) -> None:
    job.skipped = [SkippedFile(path="1931/a.mov", why="a video, left alone")]
    job.export(tmp_path / "out", layout)
    (file,) = tmp_path.rglob("skipped.csv")
    told = {"filename": "1931/a.mov", "why": "a video, left alone"}
    assert rows_of(file) == [told]
    assert not verified(sources.opened(tmp_path / "out")).faults


@pytest.mark.parametrize(
    ("stack", "original", "result"),
    [
        ("photoprism", "a (original).jpg", "a.png"),
        ("immich", "a.jpg", "a.edit.png"),
        ("digikam", "a.jpg", "a.png"),
    ],
)
def test_an_album_is_named_as_a_program_stacks_it(
    job: Job, tmp_path: Path, stack: Stack, original: str, result: str
) -> None:
    job.export(tmp_path / "out", "album", stack=stack)
    found = {file.name for file in (tmp_path / "out/objects/1931").iterdir()}
    assert found == {original, result}
    (row, *_) = rows_of(tmp_path / "out" / "manifest.csv")
    assert row["original"] == f"objects/1931/{original}"


@pytest.mark.parametrize("suffix", ["", ".zip"])
@pytest.mark.parametrize("layout", ["tree", "album", "bag"])
def test_no_result_takes_the_place_of_an_original(
    job: Job, tmp_path: Path, layout: Layout, suffix: str
) -> None:
    """An original that has the name of a result, and two whose names become one."""
    job.states = [
        job.restored(number, path)
        for number, path in enumerate(
            ("a.png", "a (restored).png", "b?.png", "b*.png"), 5
        )
    ]
    out = tmp_path / f"out{suffix}"
    job.export(out, layout, with_originals=True)
    members = list(sources.opened(out).members())
    pictures = {each.path for each in members if each.path.endswith(".png")}
    assert len(pictures) == 8
    assert not verified(sources.opened(out)).faults


@pytest.mark.parametrize("layout", ["tree", "bag"])
def test_odd_names_survive_the_way_out(
    job: Job, tmp_path: Path, layout: Layout
) -> None:
    """Each in a file of its own; the true name stands in the manifest."""
    job.states = [job.restored(number, name) for number, name in enumerate(ODD, 5)]
    job.export(tmp_path / "out", layout, with_originals=True)
    found = verified(sources.opened(tmp_path / "out"))
    assert not found.faults
    (manifest,) = tmp_path.rglob("manifest.csv")
    rows = list(csv.DictReader(io.StringIO(manifest.read_bytes().decode(), newline="")))
    assert [row["filename"] for row in rows] == ODD
    for column in ("result", "original"):
        places = {tmp_path / "out" / row[column] for row in rows}
        assert len(places) == len(ODD)
        assert all(place.is_file() for place in places)


@pytest.mark.parametrize("layout", ["tree", "album", "bag", "archivematica"])
@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_every_export_proves_itself(
    job: Job, tmp_path: Path, layout: Layout, suffix: str
) -> None:
    """And no longer, once a byte of it has changed or a file is gone."""
    out = tmp_path / f"out{suffix}"
    job.export(out, layout)
    found = verified(sources.opened(out))
    assert found.files >= 4
    assert not found.faults
    if suffix:
        out.write_bytes(out.read_bytes().replace(b"result", b"resulT", 1))
    else:
        (result,) = out.rglob("1931/a*.png")
        result.write_bytes(b"resulT")
        (gone,) = out.rglob("1945/a*.png")
        gone.unlink()
    faults = {fault.code for fault in verified(sources.opened(out)).faults}
    assert faults <= {"checksum_mismatch", "missing_in_source", "source_unreadable"}
    assert faults


def test_a_bag_has_everything_that_its_standard_asks_for(
    job: Job, tmp_path: Path
) -> None:
    job.export(tmp_path / "bag", "bag")
    files = files_of(tmp_path / "bag")
    tags = {
        "bagit.txt",
        "bag-info.txt",
        "bag-profile.json",
        *(
            f"{kind}-{sum_}.txt"
            for kind in ("manifest", "tagmanifest")
            for sum_ in ("sha256", "sha512")
        ),
    }
    assert {file for file in files if not file.startswith("data/")} == tags
    assert "data/objects/manualNormalization/access/1931/a.png" in files
    assert "data/objects/1931/a.jpg" in files
    payload = {file for file in files if file.startswith("data/")}
    listed = (tmp_path / "bag" / "manifest-sha512.txt").read_text().splitlines()
    assert {line.partition("  ")[2] for line in listed} == payload
    info = (tmp_path / "bag" / "bag-info.txt").read_text()
    size = sum((tmp_path / "bag" / file).stat().st_size for file in payload)
    assert f"Payload-Oxum: {size}.{len(payload)}\n" in info


def test_the_parts_of_an_export_are_bags_of_one_group(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is whole; only the last one knows how many there are. The command names the
    first and the last.
    """
    records = [state.record for state in job.states[:2] if state.record]
    for record in records:
        place = record.place()
        job.store.put("results", place, record.to_bytes(), "application/json")
    monkeypatch.setattr(command, "need_servers", lambda: job.settings)
    monkeypatch.setattr(command, "S3Store", lambda _: job.store)
    out = tmp_path / "part.zip"
    asked = [record.task_id for record in records]
    options = ["--out", str(out), "--layout", "bag", "--split", "1B"]
    told = CliRunner().invoke(command.app, [*asked, *options])
    assert told.exit_code == 0, told.output
    parts = sorted(tmp_path.iterdir())
    assert [part.name for part in parts] == ["part-001.zip", "part-002.zip"]
    assert f"{parts[0]}…{parts[1]}:2results" in "".join(told.output.split())
    counts = []
    for part in parts:
        assert not verified(sources.opened(part)).faults
        with zipfile.ZipFile(part) as archive:
            info = archive.read("bag-info.txt").decode()
        assert "Bag-Group-Identifier: tasks\n" in info
        counts.append(info.partition("Bag-Count: ")[2].splitlines()[0])
    assert counts == ["1 of ?", "2 of 2"]


@pytest.mark.parametrize("layout", ["bag", "archivematica"])
def test_what_the_source_said_goes_on_to_archivematica(
    job: Job, tmp_path: Path, layout: Layout
) -> None:
    """And what goes out is read back as the manifest of another job."""
    first = job.states[0].item
    words = {**first.words, "identifier": "AR-7", "scan.dpi": "600"}
    job.states[0] = replace(
        job.states[0], item=first.model_copy(update={"words": words})
    )
    job.export(tmp_path / "out", layout)
    (metadata,) = tmp_path.rglob("metadata.csv")
    assert metadata.read_text().splitlines()[:2] == [
        "filename,dc.title",
        "objects/1931/a.jpg,=",
    ]
    assert json.loads(metadata.with_name("identifiers.json").read_text()) == [
        {
            "file": "objects/1931/a.jpg",
            "identifiers": [{"identifierType": "local", "identifier": "AR-7"}],
        }
    ]
    found = inventory.taken(sources.opened(tmp_path / "out"))
    (path,) = [path for path in found.photos if path.endswith("objects/1931/a.jpg")]
    assert found.words_of(path)["dc.title"] == "="
    assert not found.faults


def test_nothing_is_written_over(job: Job, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    (tmp_path / "out.zip").touch()
    for place in (tmp_path / "out", tmp_path / "out.zip"):
        with pytest.raises(SettingsError, match="is there already"):
            job.export(place, "tree")


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_nothing_is_written_outside(tmp_path: Path, suffix: str) -> None:
    """Whatever a document in the bucket says."""
    for path in ("../a.png", "/a.png", "b/../../a.png"):
        with (
            pytest.raises(ItemFault, match="leads out"),
            sinks.opened(tmp_path / "in" / f"out{suffix}") as sink,
        ):
            sink.write(path, [b"x"])
    assert not list(tmp_path.rglob("a.png"))


def test_an_export_that_breaks_off_leaves_no_archive(job: Job, tmp_path: Path) -> None:
    def broken() -> Any:
        yield b"x"
        raise OSError

    with pytest.raises(OSError), sinks.opened(tmp_path / "out.zip") as sink:  # noqa: PT011 - as raised above
        sink.write("a.png", broken())
    assert not list(tmp_path.iterdir())


def test_every_step_is_an_event_of_both_files(job: Job) -> None:
    """Every link in the document leads to something in it."""
    records = [
        (record, "a.jpg", replace(handed, path="b.png"))
        for state in job.states[:2]
        if (record := state.record)
        for handed in results_in(record, "png")
    ]
    root = ElementTree.fromstring(premis.document(records))
    events = [found.text for found in root.iter(f"{PREMIS}eventIdentifierValue")]
    assert len(events) == sum(len(record.steps) + 1 for record, _, _ in records)
    known = {
        kind: {found.text for found in root.iter(f"{PREMIS}{kind}IdentifierValue")}
        for kind in ("event", "agent", "object")
    }
    for kind, ids in known.items():
        title = kind.capitalize()
        linked = {
            found.text for found in root.iter(f"{PREMIS}linking{title}IdentifierValue")
        }
        assert linked <= ids
        assert linked
    again = premis.document(records)
    assert again == premis.document(records)
