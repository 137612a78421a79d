"""Workflow files from a folder of the operator's into the bucket."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from infra import workflow_files
from shared.errors import PermanentError
from shared.runtime.settings import Settings
from shared.uploads import keys
from shared.workflows import own
from tests.support.memory_store import MemoryStore

WORDS = {"title": "Soft", "description": "Less haze."}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(workflows_dir=tmp_path)


def written(folder: Path, name: str, *, version: int = 1, amount: float = 0.3) -> bytes:
    """A workflow file of that name in `folder`; returns its bytes."""
    steps = [{"step": "dehaze", "fixed": {"amount": amount}}]
    whole = {"name": name, "version": version, **WORDS, "zh": WORDS, "steps": steps}
    data = json.dumps(whole).encode()
    (folder / f"{name}.json").write_bytes(data)
    return data


def test_every_file_of_the_folder_is_added(settings: Settings, tmp_path: Path) -> None:
    """A second time nothing changes, and other files are none of its business."""
    store = MemoryStore()
    data = {name: written(tmp_path, name) for name in ("soft", "softer")}
    (tmp_path / "README.txt").write_text("not a workflow")
    for said in ("was added", "is there already"):
        results = workflow_files.add_folder(settings, store)
        assert [said in result for result in results] == [True, True]
    for name in data:
        place = keys.own_workflow(name, 1)
        assert store.read(settings.bucket_results, place) == data[name]


def test_a_bad_file_costs_only_itself(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One breaks a rule, one changes a version that is there; the third is added."""
    store = MemoryStore()
    before = written(tmp_path, "changed")
    workflow_files.add_folder(settings, store)
    written(tmp_path, "changed", amount=0.5)
    (tmp_path / "broken.json").write_text("{")
    written(tmp_path, "soft")
    broken, changed, soft = workflow_files.add_folder(settings, store)
    assert broken.startswith(f"not added: {tmp_path}/broken.json: ")
    assert "raise `version` in the file" in changed
    assert "soft 1 was added" in soft
    place = keys.own_workflow("changed", 1)
    assert store.read(settings.bucket_results, place) == before


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_files_is_told(tmp_path: Path, name: str) -> None:
    """A mount that failed looks like this."""
    (tmp_path / "empty").mkdir()
    settings = Settings(workflows_dir=tmp_path / name)
    (result,) = workflow_files.add_folder(settings, MemoryStore())
    assert result.startswith(f"not added: {tmp_path / name}: ")


def test_files_and_folders_may_be_mixed(tmp_path: Path) -> None:
    """The commands take both; a folder without files is an error there."""
    inside = tmp_path / "inside"
    inside.mkdir()
    written(inside, "soft")
    written(tmp_path, "alone")
    alone = tmp_path / "alone.json"
    assert workflow_files.files([alone, inside]) == [alone, inside / "soft.json"]
    (inside / "soft.json").unlink()
    with pytest.raises(PermanentError, match=r"ends in \.json"):
        workflow_files.files([inside])


def test_a_file_that_changes_after_its_check_is_not_added(tmp_path: Path) -> None:
    written(tmp_path, "soft")
    file = tmp_path / "soft.json"
    found = workflow_files.read(file)
    file.write_text("{}")
    store = MemoryStore()
    with pytest.raises(PermanentError, match="changed after"):
        workflow_files.add(store, "results", found, file)
    assert not list(store.list("results", ""))


def test_neither_a_pipe_nor_too_many_files_hold_a_start_up(
    settings: Settings, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zeros.json").symlink_to("/dev/zero")
    for said in workflow_files.add_folder(settings, MemoryStore()):
        assert said.endswith(".json: it is no plain file")
    for number in range(own.MOST_FILES):
        (tmp_path / f"{number}.json").touch()
    (said,) = workflow_files.add_folder(settings, MemoryStore())
    assert "none was added" in said
