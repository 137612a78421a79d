"""Bags against profiles: each rule that is broken is named, and `bagit-profile` agrees."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.commands.ingest import app
from infra.ingest import bag_profile, sources
from shared.errors import PermanentError, SettingsError
from tests.support.extras import needs

ABOUT = {
    "BagIt-Profile-Identifier": "urn:example:1",
    "BagIt-Profile-Version": "1.4.0",
    "Source-Organization": "Example Archive",
    "Version": "1",
}
FILES = {
    "bagit.txt": "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
    "bag-info.txt": (
        "BagIt-Profile-Identifier: urn:example:1\nContact-Name: A\n  Person\n"
        "Contact-Name: Somebody\nAccess: Open\n"
    ),
    "manifest-sha256.txt": "",
    "tagmanifest-md5.txt": "",
    "notes/a.txt": "x",
    "data/a.txt": "x",
}


def bag_at(place: Path) -> Path:
    for path, text in FILES.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    return place


def profile_of(rules: dict[str, Any]) -> dict[str, Any]:
    # The judge wants these in every profile.
    wanted = {
        "Bag-Info": {},
        "Manifests-Required": [],
        "Accept-BagIt-Version": ["1.0"],
    }
    return {"BagIt-Profile-Info": ABOUT, **wanted, **rules}


def details(profile: dict[str, Any], place: Path) -> list[str]:
    parsed = bag_profile.parse(json.dumps(profile).encode(), "profile.json")
    found = bag_profile.faults(parsed, sources.opened(place), str(place))
    assert all(each.fault.code == "profile_violation" for each in found)
    return [each.fault.detail for each in found]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({}, None),
        ({"Bag-Info": {"Contact-Name": {"required": True}}}, None),
        ({"Bag-Info": {"Bag-Size": {"required": True}}}, "Bag-Size is missing"),
        ({"Bag-Info": {"Contact-Name": {"repeatable": False}}}, "is there 2 times"),
        ({"Bag-Info": {"Access": {"values": ["Closed"]}}}, "Access is 'Open'"),
        ({"Manifests-Required": ["sha512"]}, "manifest-sha512.txt"),
        ({"Manifests-Allowed": ["sha512"]}, "takes sha512 only"),
        ({"Tag-Manifests-Required": ["sha1"]}, "tagmanifest-sha1.txt"),
        ({"Tag-Manifests-Allowed": ["sha1"]}, "takes sha1 only"),
        ({"Tag-Files-Required": ["notes/b.txt"]}, "notes/b.txt"),
        ({"Tag-Files-Allowed": ["notes/b*"]}, "does not allow it"),
        ({"Tag-Files-Allowed": ["notes/*"]}, None),
        ({"Accept-BagIt-Version": ["0.97"]}, "BagIt-Version is 1.0"),
        ({"Allow-Fetch.txt": False}, None),
    ],
)
def test_each_rule_is_checked_as_another_reader_checks_it(
    tmp_path: Path, rules: dict[str, Any], told: str | None
) -> None:
    needs("bagit_profile", "test")
    import bagit
    import bagit_profile

    place = bag_at(tmp_path / "bag")
    found = details(profile_of(rules), place)
    if told is None:
        assert found == []
    else:
        (detail,) = found
        assert told in detail
    judge = bagit_profile.Profile("urn:example:1", profile=profile_of(rules))
    assert judge.validate(bagit.Bag(str(place))) == (told is None)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"Payload-Files-Required": ["data/objects/"]}, "data/objects/"),
        ({"Payload-Files-Allowed": ["data/*.jpg"]}, "data/a.txt"),
        ({"Data-Empty": True}, "no payload"),
        ({"Fetch.txt-Required": True}, "nothing is fetched"),
        ({"Serialization": "required"}, "wants one file"),
    ],
)
def test_rules_of_later_versions_and_of_packing(
    tmp_path: Path, rules: dict[str, Any], told: str
) -> None:
    (detail,) = details(profile_of(rules), bag_at(tmp_path / "bag"))
    assert told in detail


def test_a_packed_bag_in_a_folder_of_the_archive(tmp_path: Path) -> None:
    place = tmp_path / "bag.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for path, text in FILES.items():
            archive.writestr(f"scans/{path}", text)
    assert (
        details(profile_of({"Accept-Serialization": ["application/zip"]}), place) == []
    )
    rules = {
        "Serialization": "forbidden",
        "Accept-Serialization": ["application/x-tar"],
        "Tag-Files-Required": ["x"],
    }
    found = details(profile_of(rules), place)
    assert [text.partition(":")[0] for text in found] == [
        "'bag.zip'",
        "'bag.zip'",
        "'scans/x'",
    ]


def test_another_profile_and_no_bag(tmp_path: Path) -> None:
    profile = profile_of({})
    profile["BagIt-Profile-Info"] = {"BagIt-Profile-Identifier": "urn:example:2"}
    (detail,) = details(profile, bag_at(tmp_path / "bag"))
    assert "BagIt-Profile-Identifier is urn:example:1" in detail
    (tmp_path / "empty").mkdir()
    (detail,) = details(profile, tmp_path / "empty")
    assert "it is no bag" in detail


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"<html>", "Invalid JSON"),
        (b"{}", "BagIt-Profile-Info"),
        (b'{"BagIt-Profile-Info": {}}', "has no BagIt-Profile-Identifier"),
        (json.dumps(profile_of({"Other-Info": []})).encode(), "Other-Info"),
        (json.dumps(profile_of({"Data-Empty": "x"})).encode(), "Data-Empty"),
    ],
)
def test_a_profile_that_cannot_be_checked_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        bag_profile.parse(data, "profile.json")


def test_the_command_names_every_violation_and_sends_nothing(tmp_path: Path) -> None:
    """Without a dry run the bag is refused before a store is asked for."""
    place = bag_at(tmp_path / "bag")
    rules = {"Manifests-Required": ["sha512"], "Tag-Files-Required": ["x"]}
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(profile_of(rules)))
    asked = [str(place), "--profile", str(file)]
    told = CliRunner().invoke(app, [*asked, "--dry-run", "--json"])
    assert told.exit_code == 1
    assert [
        fault["path"]
        for fault in json.loads(told.stdout)["faults"]
        if fault["code"] == "profile_violation"
    ] == ["manifest-sha512.txt", "x"]
    with pytest.raises(PermanentError, match=r"manifest-sha512.txt.*'x'.*--profile"):
        CliRunner().invoke(app, asked, catch_exceptions=False)


@pytest.mark.parametrize("limit", ["MOST_TAG_FILES", "MOST_TAGS_BYTES"])
def test_an_archive_of_countless_bags_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(bag_profile, limit, 3)
    with zipfile.ZipFile(tmp_path / "bags.zip", "w") as archive:
        for number in range(4):
            archive.writestr(f"{number}/bagit.txt", "BagIt-Version: 1.0\n")
    with pytest.raises(SettingsError, match="bags has more than"):
        details(profile_of({}), tmp_path / "bags.zip")


def test_a_damaged_file_of_tags_is_named(tmp_path: Path) -> None:
    place = tmp_path / "bag.zip"
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("bagit.txt", "BagIt-Version: 1.0\n")
    place.write_bytes(place.read_bytes().replace(b"1.0\n", b"1.1\n"))
    with pytest.raises(PermanentError, match=r"'bagit\.txt' cannot be read") as fault:
        details(profile_of({}), place)
    assert fault.value.code == "source_unreadable"
