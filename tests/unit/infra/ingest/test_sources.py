"""What comes out of folders and archives, and what is refused by name."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from infra.ingest import photo, sources
from infra.ingest.members import ItemFault, Member, Refused
from shared.errors import SettingsError

ODD = [
    "a b.jpg",
    "照片/祖母.png",
    "100%.jpg",
    "new\nline.png",
    "🖼.jpg",
    "n" * 251 + ".png",
    "A B.jpg",
    "é.jpg",
    "e\u0301.jpg",
]
"""Among them a name of 255 bytes, one that differs in case alone, and two Unicode forms
of one name.
"""


def all_of(place: Path) -> dict[str, Member | Refused]:
    return {found.path: found for found in sources.opened(place).members()}


def code_of(found: Member | Refused) -> str:
    assert isinstance(found, Refused), found
    return found.fault.code


def body_of(place: Path, path: str) -> bytes:
    for found in sources.opened(place).members():
        if found.path == path:
            assert isinstance(found, Member)
            return sources.read(found, 1000)
    raise AssertionError(path)


def tar_of(place: Path, *members: tarfile.TarInfo, body: bytes = b"") -> Path:
    with tarfile.open(place, "w:gz" if place.suffix == ".tgz" else "w") as archive:
        for member in members:
            member.size = member.size or len(body)
            archive.addfile(member, io.BytesIO(body.ljust(member.size, b"\0")))
    return place


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tgz"])
def test_odd_names_come_through(tmp_path: Path, kind: str) -> None:
    place = tmp_path / f"source.{kind}"
    if kind == "folder":
        for name in ODD:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(name.encode())
    elif kind == "zip":
        with zipfile.ZipFile(place, "w") as archive:
            for name in ODD:
                archive.writestr(name, name.encode())
    else:
        with tarfile.open(place, "w:gz" if kind == "tgz" else "w") as tar:
            for name in ODD:
                info = tarfile.TarInfo(name)
                info.size = len(name.encode())
                tar.addfile(info, io.BytesIO(name.encode()))
    assert set(all_of(place)) == set(ODD)
    for name in ODD:
        assert body_of(place, name) == name.encode()


@pytest.mark.parametrize(
    "path", ["../out.jpg", "/etc/passwd.jpg", "a/../../b.jpg", "C:\\x.jpg", "..\\x.jpg"]
)
def test_a_path_that_leads_out_costs_only_itself(tmp_path: Path, path: str) -> None:
    packed, tar = tmp_path / "a.zip", tmp_path / "a.tar"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(path, b"x")
        archive.writestr("good.jpg", b"x")
    tar_of(tar, tarfile.TarInfo(path), tarfile.TarInfo("good.jpg"), body=b"x")
    for place in (packed, tar):
        found = all_of(place)
        assert code_of(found[path]) == "unsafe_path"
        assert isinstance(found["good.jpg"], Member)


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jpg").symlink_to("/etc/passwd")
    (folder / "linked").symlink_to("/etc")
    os.mkfifo(folder / "pipe.jpg")
    assert {code_of(found) for found in all_of(folder).values()} == {"unsafe_path"}
    assert set(all_of(folder)) == {"link.jpg", "linked", "pipe.jpg"}
    link, device = tarfile.TarInfo("link.jpg"), tarfile.TarInfo("device.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    found = all_of(tar_of(tmp_path / "a.tar", link, device))
    assert {code_of(each) for each in found.values()} == {"unsafe_path"}
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo("link.jpg")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert code_of(all_of(packed)["link.jpg"]) == "unsafe_path"


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path / "a") + b"/\xff.jpg", "wb"):  # noqa: PTH123 - bytes
        pass
    (found,) = sources.opened(tmp_path / "a").members()
    assert code_of(found) == "unsafe_path"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_twice_in_an_archive_is_refused(tmp_path: Path) -> None:
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jpg", b"one")
        archive.writestr("a.jpg", b"two")
    first, second = sources.opened(packed).members()
    assert isinstance(first, Member)
    assert code_of(second) == "unsafe_path"


def test_bombs_are_refused(tmp_path: Path) -> None:
    """A ZIP file states its ratio; a packed TAR file is given up as it unpacks."""
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.jpg", bytes(32 << 20))
        archive.writestr("good.jpg", b"x")
    found = all_of(packed)
    assert code_of(found["bomb.jpg"]) == "archive_bomb"
    assert isinstance(found["good.jpg"], Member)
    bomb = tarfile.TarInfo("bomb.jpg")
    bomb.size = 64 << 20
    tar = tar_of(tmp_path / "a.tgz", bomb, tarfile.TarInfo("behind.jpg"))
    with pytest.raises(SettingsError, match="unpacks to more than 300 times"):
        list(sources.opened(tar).members())


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jpg", b"x")
    data = bytearray(packed.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag in the directory
    packed.write_bytes(data)
    assert code_of(all_of(packed)["a.jpg"]) == "encrypted"


def test_a_cut_archive_is_an_error_that_names_it(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    tar = tar_of(tmp_path / "a.tar", info, body=bytes(5000))
    tar.write_bytes(tar.read_bytes()[:3000])
    (member,) = (found for found in [*_until_error(tar)] if isinstance(found, Member))
    assert member.path == "a.jpg"
    (tmp_path / "b.zip").write_bytes(b"PK\3\4")
    with pytest.raises(SettingsError, match=r"b\.zip cannot be read to its end"):
        list(sources.opened(tmp_path / "b.zip").members())


def _until_error(place: Path) -> list[Member | Refused]:
    """Members with their bytes read; a cut one is a fault of its own."""
    found: list[Member | Refused] = []
    try:
        for member in sources.opened(place).members():
            found.append(member)
            assert isinstance(member, Member)
            with pytest.raises(ItemFault, match=r"a\.jpg"):
                photo.read(member, None, 10_000).body.close()
    except SettingsError:
        pass
    return found


def test_what_is_no_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(SettingsError, match="neither a folder nor an archive"):
        sources.opened(tmp_path / "a.jpg")
    with pytest.raises(SettingsError, match="does not exist"):
        sources.opened(tmp_path / "b")
