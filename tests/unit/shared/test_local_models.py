"""Community models: dropped into the models folder, added once, usable by name."""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.extras import needs
from tests.support.pictures import photo_like

needs("torch", "torch")

import torch
from safetensors.torch import save_file

from gpu_worker.engines import weights
from gpu_worker.engines.auto import AutoEngine
from gpu_worker.engines.local import add
from gpu_worker.models import cli
from gpu_worker.photo import Photo
from gpu_worker.restore import restore
from shared import models, workflows
from shared.errors import Code, PermanentError, SettingsError
from shared.models import LOCAL, get, local, registry, use_local
from shared.runtime.settings import Settings


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test adds is gone after it."""
    monkeypatch.setattr(models, "_folders", [])
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models")


def compact(path: Path, bias: float = 0.0) -> Path:
    """A community model: the compact network, in whichever format the suffix says."""
    state = weights.load(get("realesr-animevideov3"), Settings())
    state["body.34.bias"] += bias
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"params": state}, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_added_model_is_usable_by_name(
    tmp_path: Path, settings: Settings, suffix: str
) -> None:
    """In any workflow that lets its model be chosen, with its own signature."""
    added = add(
        compact(tmp_path / f"4x-Fine.Model{suffix}"), None, "CC-BY-4.0", settings
    )
    assert (added.name, added.architecture, added.scale, added.overlap_px) == (
        "4x-Fine.Model",
        "srvgg",
        4,
        18,
    )
    workflow = workflows.resolve("enhance", {"model": "4x-Fine.Model"})
    assert workflow.ref.signature != workflows.resolve("enhance").ref.signature
    done = restore(
        Photo(photo_like(20, 24)),
        workflow,
        AutoEngine(settings),
        settings,
        lambda done: None,
    )
    assert done.photo.pixels.shape == (80, 96, 3)
    assert (done.engine, done.steps[0].model) == ("torch", "4x-Fine.Model")


def test_a_file_that_lies_in_the_models_folder_is_added_where_it_is(
    settings: Settings,
) -> None:
    """Dropping it there is the usual way."""
    settings.models_dir.mkdir()
    path = compact(settings.models_dir / "dropped.pth")
    add(path, None, "unknown", settings)
    assert sorted(p.name for p in settings.models_dir.iterdir()) == [
        "dropped.pth",
        LOCAL,
    ]


def test_another_process_finds_what_was_added(
    tmp_path: Path, settings: Settings
) -> None:
    """Also when it was added after that process began."""
    use_local(settings.models_dir)
    add(compact(tmp_path / "later.pth"), None, "unknown", settings)
    registry.cache_clear()  # the other process never saw it
    assert get("later").title == "Compact x4, added on this machine"


def test_a_process_without_the_folder_does_not_know_the_model(
    tmp_path: Path, settings: Settings
) -> None:
    """It refuses the parameter and says which models there are."""
    add(compact(tmp_path / "here.pth"), None, "unknown", settings)
    models._folders.clear()
    registry.cache_clear()
    with pytest.raises(
        PermanentError, match="model='here': no model 'here' in the registry; there are"
    ) as caught:
        workflows.resolve("enhance", {"model": "here"})
    assert caught.value.code == Code.BAD_PARAMETER


def test_a_name_belongs_to_one_file_for_ever(
    tmp_path: Path, settings: Settings
) -> None:
    """Results are named by their model. The same file again is no fault."""
    path = compact(tmp_path / "one.pth")
    assert add(path, None, "unknown", settings) == add(path, None, "unknown", settings)
    (tmp_path / "other").mkdir()
    other = compact(tmp_path / "other" / "two.pth", bias=0.1)
    with pytest.raises(PermanentError, match="taken by other weights"):
        add(other, "one", "unknown", settings)
    with pytest.raises(PermanentError, match="taken by other weights"):
        add(other, "realesrgan-x4plus", "unknown", settings)


def test_a_file_of_another_content_is_not_overwritten(
    tmp_path: Path, settings: Settings
) -> None:
    """Two files of one name from two places."""
    add(compact(tmp_path / "one.pth"), None, "unknown", settings)
    (tmp_path / "other").mkdir()
    with pytest.raises(PermanentError, match="exists already"):
        add(
            compact(tmp_path / "other" / "one.pth", bias=0.1),
            "two",
            "unknown",
            settings,
        )


@pytest.mark.parametrize("name", ["../x", "a b", "x" * 81])
def test_odd_names_are_refused(tmp_path: Path, settings: Settings, name: str) -> None:
    """They would end in paths and logs."""
    path = compact(tmp_path / "fine.pth")
    with pytest.raises(PermanentError, match="is no name for a model"):
        add(path, name, "unknown", settings)


def test_weights_of_no_use_are_refused(tmp_path: Path, settings: Settings) -> None:
    """A network from grey to grey has no step here; nothing is left behind."""
    from spandrel.architectures.Compact import Compact

    torch.save(
        Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1).state_dict(),
        tmp_path / "grey.pth",
    )
    with pytest.raises(PermanentError, match="colour pictures") as caught:
        add(tmp_path / "grey.pth", None, "unknown", settings)
    assert caught.value.code == Code.MODEL_CORRUPT
    assert not settings.models_dir.exists()


def test_a_broken_list_is_named(settings: Settings) -> None:
    """It is a file that people may edit."""
    settings.models_dir.mkdir()
    (settings.models_dir / LOCAL).write_text('[{"name": 1}]')
    with pytest.raises(SettingsError, match=LOCAL):
        local(settings.models_dir)


def test_the_command(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`darkroom models add FILE`, then it is listed and verified like any other."""
    monkeypatch.setenv("DARKROOM_MODELS_DIR", str(settings.models_dir))
    assert (
        cli.main(
            ["add", str(compact(tmp_path / "mine.pth")), "--licence", "MIT", "--json"]
        )
        == 0
    )
    assert cli.main(["verify", "mine", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["state"] for row in rows] == ["verified", "verified"]
    assert rows[0]["licence"] == "MIT"
    with pytest.raises(SystemExit) as caught:
        cli.main(["add", str(tmp_path / "nothing.pth")])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("workflow", "params", "says"),
    [
        ("enhance", {"model": "ddcolor-modelscope"}, "no model for the step upscale"),
        ("portrait", {"model": "realesrgan-x4plus"}, "no model for the step colorize"),
        (
            "enhance",
            {"model": "realesrgan-x2plus", "scale": 3},
            "scale=3 is more than the 2 of model",
        ),
        ("enhance", {"model": 3}, "a string"),
    ],
)
def test_a_model_that_does_not_fit_its_step_is_refused(
    workflow: str, params: dict[str, object], says: str
) -> None:
    """By the handler, before anything is queued."""
    with pytest.raises(PermanentError, match=says) as caught:
        workflows.resolve(workflow, params)
    assert caught.value.code == Code.BAD_PARAMETER


def test_the_default_scale_is_that_of_the_model() -> None:
    """x2plus doubles unless less is asked for."""
    assert workflows.resolve("enhance", {"model": "realesrgan-x2plus"}).scale == 2
    assert (
        workflows.resolve("enhance", {"model": "realesrgan-x2plus", "scale": 1.5}).scale
        == 1.5
    )
