"""The demo's own stack: gone at the end however it ends, and nobody else's."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gpu_worker.codec import Limits, decode, texts, write_png
from gpu_worker.photo import Metadata
from infra.commands import demo
from infra.demo.samples import samples
from infra.local.state import Pids
from shared.errors import SettingsError
from shared.workflows import resolve


def test_an_interrupted_start_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ctrl-C comes at any time; what the start had begun by then must not run on."""
    called: list[str] = []

    def darkroom(command: str, *_: str, **__: Any) -> int:
        called.append(command)
        if command == "up":
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(demo, "_darkroom", darkroom)
    with pytest.raises(KeyboardInterrupt):
        demo.run(tmp_path / "out", tmp_path / "state")
    assert called == ["up", "down"]


def test_the_stack_of_another_demo_is_left_alone(tmp_path: Path) -> None:
    """Its folder is not emptied below it."""
    (tmp_path / "run").mkdir()
    Pids(tmp_path).write({"supervisor": os.getpid()})
    with pytest.raises(
        SettingsError, match=f"DARKROOM_STATE_DIR={tmp_path} darkroom down"
    ):
        demo.run(tmp_path / "out", tmp_path)
    assert "supervisor" in Pids(tmp_path).alive()


def test_a_command_is_heard_when_it_fails(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Only then: what it says otherwise is about a folder in which nobody else looks."""
    assert demo._darkroom("down", state_dir=tmp_path, saying="stopping") == 0
    assert capfd.readouterr() == ("", "")
    assert demo._darkroom("status", state_dir=tmp_path, saying="looking") == 2
    assert "no stack is ready" in capfd.readouterr().err


def test_the_captioned_scan_is_checked_by_caption_and_print() -> None:
    """What the demo looks for is in a result, and missed where it is not."""
    (sample,) = [each for each in samples() if "formats" in each.metadata]
    before = Image.open(io.BytesIO(sample.data))
    photo = decode(sample.data, Limits())
    enlarged = photo.resized(photo.pixels.repeat(2, 0).repeat(2, 1), None)
    for made, agrees in ((enlarged, True), (photo.with_(meta=Metadata()), False)):
        text = texts("t", resolve("fast"), words=made.meta.captions)
        file = io.BytesIO()
        write_png(made, file, text, 1)
        after = Image.open(file)
        packet = str(after.info["xmp"])
        assert (demo._caption(before) in packet) == agrees
        assert (demo._print_cm(after) == demo._print_cm(before)) == agrees


@pytest.mark.parametrize("status", [0, 1])
def test_a_photo_is_coloured_where_the_weights_can_be_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int
) -> None:
    """They are fetched before the workers start; without them the others are restored."""
    called: list[tuple[str, ...]] = []
    dropped: list[Any] = []

    def darkroom(*arguments: str, **_: Any) -> int:
        called.append(arguments)
        return status if arguments[0] == "models" else 0

    monkeypatch.setattr(demo, "_darkroom", darkroom)
    monkeypatch.setattr(demo, "S3Store", lambda settings: None)
    monkeypatch.setattr(demo, "_drop", lambda *parts: dropped.append(parts[-1]))
    monkeypatch.setattr(demo, "_watch", lambda *_: None)
    monkeypatch.setattr(demo, "_report", lambda *_: [])
    assert demo.run(tmp_path / "out", tmp_path / "state", wants_colour=True) == 0
    assert [each[0] for each in called] == ["models", "up", "down"]
    assert called[0] == ("models", "pull", "ddcolor-modelscope")
    assert len(dropped) == len(demo.samples()) + (status == 0)


def test_weights_that_are_not_the_pinned_ones_are_no_colour(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """From a local mirror with a stand-in, by the command itself."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "ddcolor_modelscope.pth").write_bytes(b"a stand-in")
    monkeypatch.setenv("DARKROOM_MODELS_MIRROR", str(mirror))
    monkeypatch.setenv("DARKROOM_MODELS_DIR", str(tmp_path / "models"))
    assert not demo._has_colour(tmp_path)
    said = capfd.readouterr()
    assert "SHA-256" in said.out + said.err
    assert "colour is left out" in said.err
