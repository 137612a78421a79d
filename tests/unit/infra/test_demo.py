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
