"""When a file was changed, as each kind of source tells it."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.export import sinks
from infra.ingest import file_times, sources
from infra.ingest.members import Member

THEN = datetime(1998, 7, 4, 12, 30, tzinfo=UTC)


def time_in(place: Path) -> datetime | None:
    (found,) = sources.opened(place).members()
    assert isinstance(found, Member)
    return found.modified_at


def zip_of(place: Path, date_time: tuple[int, ...], extra: bytes = b"") -> Path:
    info = zipfile.ZipInfo("a.jpg", date_time)  # type: ignore[arg-type]
    info.extra = extra
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr(info, b"x")
    return place


def test_a_folder_and_a_tar_file_tell_it_in_utc(tmp_path: Path) -> None:
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    os.utime(folder / "a.jpg", (THEN.timestamp(),) * 2)
    with tarfile.open(tmp_path / "album.tar", "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.size, info.mtime = 1, THEN.timestamp()
        archive.addfile(info, io.BytesIO(b"x"))
    assert time_in(folder) == time_in(tmp_path / "album.tar") == THEN


def test_a_zip_file_tells_it_in_utc_or_on_the_clock_of_a_place(tmp_path: Path) -> None:
    local = THEN.astimezone().timetuple()[:6]
    assert time_in(zip_of(tmp_path / "plain.zip", local)) == THEN
    field = struct.pack("<HHBi", 0x5455, 5, 1, int(THEN.timestamp()))
    other = (2001, 1, 1, 0, 0, 0)
    assert time_in(zip_of(tmp_path / "extended.zip", other, field)) == THEN


def test_what_is_no_time_is_none(tmp_path: Path) -> None:
    """A ZIP file without one, a broken field, and what no clock shows."""
    assert time_in(zip_of(tmp_path / "a.zip", (1980, 1, 1, 0, 0, 0))) is None
    broken = zipfile.ZipInfo("a.jpg")
    broken.date_time, broken.extra = (2001, 0, 0, 0, 0, 0), b"UT\xff\xff\1"
    assert file_times.of_zipped(broken) is None
    assert file_times.of_seconds(0) is file_times.of_seconds(1e300) is None


def test_a_time_at_the_end_of_all_years_costs_an_export_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock in the east it is in the year 10000, which there is none of."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        for place in (tmp_path / "out", tmp_path / "out.zip"):
            for at in (datetime.max, datetime(1980, 1, 1, tzinfo=UTC), datetime.min):
                with sinks.opened(place.with_stem(f"{at:%Y}")) as sink:
                    sink.write("a", [b"x"], at.replace(tzinfo=UTC))
    finally:
        monkeypatch.undo()
        time.tzset()
