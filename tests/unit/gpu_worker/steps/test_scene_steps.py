"""The steps of the scene presets that need PyTorch: noise, faces. Haze has a file of
its own.

The weights of SCUNet and GFPGAN and YuNet's detector are not at hand in tests: the
networks run with random weights, the face geometry on faces whose points are known.
"""

# ruff: noqa: E402 - nothing of torch may be imported before `needs`

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.extras import needs
from tests.support.pictures import difference, photo_like

needs("torch", "torch")

import torch

from gpu_worker import steps
from gpu_worker.engines import compat, face_detector
from gpu_worker.engines.ncnn_engine import NcnnEngine
from gpu_worker.engines.torch_engine import TorchEngine
from gpu_worker.photo import Photo
from gpu_worker.steps import face_geometry as faces
from shared import workflows
from shared.errors import Code, NotFound, PermanentError
from shared.models import Model, ModelFile, get
from shared.runtime.settings import Settings
from shared.workflows import ResolvedStep

Floats = NDArray[np.float32]


def run(
    photo: Photo,
    kind: Any,
    model: Model | None,
    engine: Any,
    settings: Settings | None = None,
    **params: float,
) -> steps.StepResult:
    tools = steps.Tools(settings or Settings(), lambda done: None)
    return steps.run(photo, ResolvedStep(kind, model, params), engine, tools)


def stored(
    network: torch.nn.Module, folder: Path, architecture: Any, **more: Any
) -> Model:
    """A registry entry for random weights, with an empty file in the place of a
    detector.
    """
    torch.save({"params": network.state_dict()}, folder / "weights.pth")
    (folder / "detector.onnx").write_bytes(b"")
    files = [
        ModelFile(
            role=role,
            sha256=hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            path=name,
        )
        for role, name in (("weights", "weights.pth"), ("detector", "detector.onnx"))
    ]
    return Model(
        name="toy", architecture=architecture, title="", licence="", files=files, **more
    )


# noise


@pytest.fixture(scope="module")
def scunet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Settings]:
    compat.spandrel()
    from spandrel.architectures.SCUNet import SCUNet

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("scunet")
    model = stored(SCUNet(config=[2] * 7), folder, "scunet", overlap_px=64, align_px=64)
    return model, Settings(models_dir=folder)


def test_denoise_keeps_size_and_alpha_and_mixes(scunet: tuple[Model, Settings]) -> None:
    """`strength` is the share of the cleaned photo."""
    model, settings = scunet
    pixels, alpha = photo_like(50, 70), photo_like(50, 70, 1)[:, :, 0]
    engine = TorchEngine(settings, "cpu")
    none, half, whole = (
        run(Photo(pixels, alpha), "denoise", model, engine, settings, strength=s).photo
        for s in (0, 0.5, 1)
    )
    assert none.pixels is pixels
    assert whole.pixels.shape == pixels.shape
    assert whole.alpha is alpha
    mixed = np.rint((pixels.astype(np.float32) + whole.pixels) / 2).astype(np.uint8)
    assert difference(half.pixels, mixed).max() <= 1
    assert difference(whole.pixels, pixels).max() > 1


def test_denoise_takes_pictures_of_every_size(scunet: tuple[Model, Settings]) -> None:
    """The network folds windows of 64; tiny pictures are padded for it."""
    model, settings = scunet
    for size in ((1, 1), (3, 90), (130, 75)):
        pixels = photo_like(*size)
        assert run(
            Photo(pixels),
            "denoise",
            model,
            TorchEngine(settings, "cpu"),
            settings,
            strength=1,
        ).photo.height


# faces


def points(centre: tuple[float, float], width: float, turn: float = 0.0) -> Floats:
    """Where the five points of a face of `width` px at `centre` are, turned by `turn`
    radians.
    """
    around = (faces.TEMPLATE - faces.FACE_PX / 2) * (width / faces.FACE_PX)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return (around @ rotation.T + centre).astype(np.float32)


class StandIn:
    """An engine whose face network is a plain function."""

    name, device, lanes, batch = "stand-in", "cpu", 1, 1

    def __init__(self, function: Any) -> None:
        self.run = function

    def load_picture_network(self, model: Model) -> StandIn:
        return self


@pytest.fixture
def known_faces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Faces at known places, and a registry entry whose detector file exists."""
    (tmp_path / "detector.onnx").write_bytes(b"")
    file = ModelFile(role="detector", sha256="0" * 64, path="detector.onnx")
    model = Model(name="toy", architecture="gfpgan", title="", licence="", files=[file])

    def use(*found: Floats) -> tuple[Model, Settings]:
        monkeypatch.setattr(faces, "find", lambda *_: list(found))
        return model, Settings(models_dir=tmp_path)

    return use


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_a_face_is_seen_upright_in_its_place(turn: float) -> None:
    """The five points land on those of the template, wherever the face is and however
    it is turned.
    """
    five = points((300, 200), 150, turn)
    where = faces.place(five, 640, 480)
    assert where is not None
    local = five - (where.x0, where.y0)
    landed = local @ where.upright[:, :2].T + where.upright[:, 2]
    assert np.abs(landed - faces.TEMPLATE).max() < 1
    assert where.scale == pytest.approx(150 / 512, rel=0.01)


@pytest.mark.parametrize("width", [60, 150, 700])
def test_a_face_that_was_not_changed_changes_nothing(
    known_faces: Any, width: int
) -> None:
    """There and back: small, middle and large faces, up to what resampling costs."""
    y, x = np.mgrid[0:800, 0:900]
    smooth = np.stack(
        [128 + 90 * np.sin(x / 40) * np.cos(y / 50 + c) for c in range(3)], 2
    )
    pixels = np.rint(smooth).astype(np.uint8)
    model, settings = known_faces(points((450, 400), width, 0.3))
    found = run(
        Photo(pixels), "faces", model, StandIn(lambda face: face), settings, strength=1
    ).photo.pixels
    assert difference(found, pixels).mean() < 0.5
    assert difference(found, pixels).max() < 6


def test_only_faces_change(known_faces: Any) -> None:
    """Beyond the face's square not a bit; in its middle all of it; half the strength is
    half of it.
    """
    pixels = np.full((300, 400, 3), 100, np.uint8)
    model, settings = known_faces(points((200, 150), 120), points((-500, -500), 80))
    white = StandIn(lambda face: np.ones_like(face))
    result = run(Photo(pixels), "faces", model, white, settings, strength=1)
    found = result.photo.pixels
    assert result.detail["faces"] == 1, "the one outside the picture is no face of it"
    assert (found[150, 200] == 255).all()
    outside = np.ones((300, 400), bool)
    outside[88:213, 138:263] = False
    assert (found[outside] == 100).all()
    assert (pixels == 100).all(), "the photo that came in is left alone"
    half = run(
        Photo(pixels), "faces", model, white, settings, strength=0.5
    ).photo.pixels
    assert half[150, 200] == pytest.approx([178] * 3, abs=1)


def test_only_faces_that_are_sure_and_large_enough_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Heights are of the photo, not of the smaller picture that is searched."""
    asked = []

    def two(_: Path, bgr: NDArray[Any], certain: float) -> face_detector.Faces:
        asked.append(certain)
        five = np.array([points((300, 200), 60, 0), points((900, 500), 200, 0)])
        boxes = np.array([[0, 0, 40, 50], [0, 0, 150, 200]], np.float32)
        return face_detector.Faces(np.ones(2, np.float32), boxes, five)

    monkeypatch.setattr(face_detector, "find", two)
    pixels = np.zeros((1200, 2560, 1), np.uint8)
    detector = tmp_path / "detector.onnx"
    assert len(faces.find(pixels, detector)) == 2
    assert len(faces.find(pixels, detector, 0.9, 101)) == 1
    assert len(faces.find(pixels, detector, 0.9, 401)) == 0
    assert asked == [0.7, 0.9, 0.9]


def test_a_face_at_the_border_works(known_faces: Any) -> None:
    """Half of it is outside."""
    pixels = photo_like(200, 200)
    model, settings = known_faces(points((5, 190), 120))
    found = run(
        Photo(pixels), "faces", model, StandIn(lambda face: face), settings, strength=1
    ).photo.pixels
    assert difference(found, pixels).mean() < 2


@pytest.mark.parametrize(("channels", "bits"), [(1, 8), (1, 16), (3, 16)])
def test_faces_keep_depth_and_channels(
    known_faces: Any, channels: int, bits: int
) -> None:
    """Grey stays grey."""
    pixels = photo_like(200, 200, channels, bits)
    model, settings = known_faces(points((100, 100), 120))
    found = run(
        Photo(pixels), "faces", model, StandIn(lambda face: face), settings, strength=1
    ).photo.pixels
    assert (found.shape, found.dtype) == (pixels.shape, pixels.dtype)


def test_a_photo_without_faces_is_untouched(known_faces: Any) -> None:
    """The very same pixels, and the record says 0."""
    model, settings = known_faces()
    pixels = photo_like(40, 40)
    result = run(Photo(pixels), "faces", model, StandIn(None), settings, strength=1)
    assert result.photo.pixels is pixels
    assert result.detail == {"faces": 0, "strength": 1.0}


def test_an_engine_without_faces_names_the_way_out() -> None:
    """ncnn was named in the settings."""
    with pytest.raises(NotFound, match=r"darkroom models pull restoreformer") as caught:
        run(
            Photo(photo_like(8, 8)),
            "faces",
            get("restoreformer-plus-plus"),
            NcnnEngine(Settings()),
            strength=1,
        )
    assert caught.value.code == Code.MODEL_MISSING


@pytest.fixture(scope="module")
def gfpgan(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Model, Settings, torch.nn.Module]:
    compat.spandrel()
    from spandrel.architectures.GFPGAN import GFPGAN

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gfpgan")
    network = GFPGAN(input_is_latent=True, different_w=True, sft_half=True)
    for layer in network.stylegan_decoder.style_convs:
        # how much noise; none would hide where it comes from
        torch.nn.init.constant_(layer.weight, 0.1)
    network.eval()
    return stored(network, folder, "gfpgan"), Settings(models_dir=folder), network


def test_gfpgan_runs_from_an_official_file(
    gfpgan: tuple[Model, Settings, torch.nn.Module],
) -> None:
    """The official arithmetic: -1..1 in and out, RGB; with the file's own noise, so
    that a face has one result.
    """
    model, settings, bare = gfpgan
    network = TorchEngine(settings, "cpu").load_picture_network(model)
    face = photo_like(512, 512).astype(np.float32) / np.float32(255)
    found = network.run(face)
    with torch.inference_mode():
        planes = (torch.from_numpy(face.transpose(2, 0, 1).copy())[None] - 0.5) / 0.5
        raw = bare(planes, return_rgb=False, randomize_noise=False)[0][0]
    assert (
        np.abs(found - np.clip(raw.permute(1, 2, 0).numpy() / 2 + 0.5, 0, 1)).max()
        < 1e-4
    )


def test_a_face_network_is_no_upscaler(
    gfpgan: tuple[Model, Settings, torch.nn.Module],
) -> None:
    """An entry that names the wrong kind is refused."""
    with pytest.raises(PermanentError, match="not what its entry says"):
        TorchEngine(gfpgan[1], "cpu").load(gfpgan[0])


def test_the_scene_presets_resolve() -> None:
    """Their weights are pulled on demand; dehaze needs none."""
    assert [m.name for m in workflows.resolve("faces").models] == [
        "realesrgan-x4plus",
        "restoreformer-plus-plus",
    ]
    chosen = workflows.resolve("faces", {"face_model": "gfpgan-1.4"})
    assert chosen.models[1].name == "gfpgan-1.4"
    assert [m.name for m in workflows.resolve("denoise").models] == ["scunet-psnr"]
    assert workflows.resolve("dehaze").models == []
