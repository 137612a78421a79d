"""What the doctor finds where processes, files and backup differ."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import pytest
from pydantic import SecretStr

from infra import doctor
from infra.backup.vault import FolderVault
from shared.errors import StorageUnavailable
from shared.runtime.about import about, fingerprint
from shared.runtime.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        models_dir=tmp_path / "models",
        pepper=SecretStr("chilli"),
        s3_secret_key=SecretStr("hush"),
        notice_url="https://chat.example/hooks/T0-whisper",
        max_attempts=4,
    )


def test_processes_that_are_the_same_are_well(settings: Settings) -> None:
    said = {"handlers": about(settings), "worker": about(settings)}
    assert doctor.processes(settings, said) == []


def test_what_a_process_says_has_no_secret(settings: Settings) -> None:
    said = str(about(settings))
    assert "chilli" not in said
    assert "hush" not in said
    assert "whisper" not in said
    assert fingerprint(settings) in said


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"release": "0.0.1"}, "release: worker runs 0.0.1"),
        ({"stack": "0" * 16}, "settings: worker has another DARKROOM_PEPPER"),
        ({"workflows": {}}, "workflow: fast is missing"),
        (
            {"models": {"realesrgan-x4plus": "0"}},
            "model: realesrgan-x4plus has another",
        ),
        ({"settings": {"max_attempts": "9"}}, "settings: DARKROOM_MAX_ATTEMPTS is"),
    ],
)
def test_a_difference_is_named(
    settings: Settings, change: dict[str, Any], finding: str
) -> None:
    said = {"handlers": about(settings), "worker": about(settings) | change}
    found = doctor.processes(settings, said)
    assert any(sentence.startswith(finding) for sentence in found), found


def test_an_altered_a_missing_and_an_added_workflow_are_named() -> None:
    found = doctor.workflows({"a": "1", "b": "2"}, {"a": "3", "c": "4"}, "here")
    assert found == [
        "workflow: a was altered (here)",
        "workflow: b is missing (here)",
        "workflow: c is one too many (here)",
    ]


def test_a_wrong_and_a_missing_model_file_are_named(settings: Settings) -> None:
    folder = settings.models_dir
    folder.mkdir()
    (folder / "RealESRGAN_x4plus.pth").write_bytes(b"other")
    (folder / "own.pth").write_bytes(b"other")
    found = doctor.models(settings, {"own.pth": "0" * 64, "lost.pth": "0" * 64})
    assert any("own.pth is another one" in finding for finding in found)
    assert any("lost.pth of the backup is missing" in finding for finding in found)


def test_a_process_that_does_not_answer_is_named() -> None:
    _said, found = doctor.asked({"worker": "http://127.0.0.1:1"})
    assert found == ["process worker: no answer: ConnectError"]


def test_a_vault_that_takes_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = FolderVault(tmp_path)
    assert doctor.permission(vault) == []

    def refuse(_name: str, _file: IO[bytes]) -> bool:
        raise StorageUnavailable("access denied")

    monkeypatch.setattr(vault, "add", refuse)
    assert doctor.permission(vault)[0].startswith("permission: ")
