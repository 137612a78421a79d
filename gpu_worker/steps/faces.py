"""Restore the faces in a photo, one by one; everything else stays as it is."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gpu_worker import models
from gpu_worker.engines import Engine, OutOfMemory, PictureNetwork, RunsPictures
from gpu_worker.engines.quantise import GREY_WEIGHTS
from gpu_worker.photo import Photo, Pixels, top_level
from gpu_worker.pixels import scratch
from gpu_worker.steps import face_geometry
from gpu_worker.steps.base import StepResult, Tools, needs_another_engine
from gpu_worker.steps.face_geometry import Floats, Place
from shared.errors import Code, PermanentError
from shared.models import Model
from shared.workflows import ResolvedStep


def run(photo: Photo, step: ResolvedStep, engine: Engine, tools: Tools) -> StepResult:
    """Mix `strength` (0..1) of the restored faces over the photo's own. A photo without
    faces is returned untouched.
    """
    assert step.model is not None
    strength = float(step.params["strength"])
    network = _network(engine, step.model)
    detector = models.locate(step.model, "detector", tools.settings)
    places = []
    confidence = float(step.params.get("face_confidence", face_geometry.CERTAIN))
    least_px = float(step.params.get("least_face_px", 0))
    for points in face_geometry.find(photo.pixels, detector, confidence, least_px):
        place = face_geometry.place(points, photo.width, photo.height)
        if place is not None:
            places.append(place)
    detail: dict[str, Any] = {"faces": len(places), "strength": strength}
    if step.model.restriction:
        detail["licence"] = step.model.licence
    if not places or strength == 0:
        return StepResult(photo, detail)
    pixels = _copied(photo.pixels, tools)
    for number, place in enumerate(places, 1):
        _restore(pixels, place, network, strength)
        tools.progress(number / len(places))
    return StepResult(photo.with_(pixels=pixels), detail)


def _network(engine: Engine, model: Model) -> PictureNetwork:
    if not isinstance(engine, RunsPictures):
        raise needs_another_engine(model, engine)
    return engine.load_picture_network(model)


def _copied(pixels: Pixels, tools: Tools) -> Pixels:
    canvas = scratch.allocate(pixels.shape, pixels.dtype, tools.settings)
    canvas[...] = pixels
    return cast(Pixels, canvas)


def _restore(
    pixels: Pixels,
    place: Place,
    network: PictureNetwork,
    strength: float,
) -> None:
    """Restore one face, in place. The network sees a grey photo as three equal
    channels, and the photo stays grey.
    """
    top = top_level(pixels.dtype)
    window = pixels[place.window].astype(np.float32) / top
    height, width, channels = window.shape
    repeated = np.broadcast_to(window, (height, width, 3))
    colour = np.ascontiguousarray(repeated)
    face = _restored(face_geometry.cut(colour, place), network)
    better = face_geometry.put_back(colour, face, place, strength)
    if channels == 1:
        weights = np.asarray(GREY_WEIGHTS, np.float32)
        better = (better @ weights)[:, :, np.newaxis]
    levels = np.clip(better, 0, 1) * top
    pixels[place.window] = np.rint(levels)


def _restored(face: Floats, network: PictureNetwork) -> Floats:
    try:
        return network.run(face)
    except OutOfMemory as error:
        detail = (
            "a face did not fit into the device's memory; let a worker with more "
            "memory take this photo"
        )
        raise PermanentError(Code.OUT_OF_MEMORY, detail) from error
