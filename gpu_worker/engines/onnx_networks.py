"""Networks in ONNX Runtime: on tiles of a photo, and on whole pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpu_worker.engines import architectures
from gpu_worker.engines.architectures import Architecture
from gpu_worker.engines.base import Floats
from gpu_worker.engines.onnx_session import ENGINE, Session
from gpu_worker.engines.quantise import to_pixels
from gpu_worker.photo import Pixels, depth_of, top_level


class OnnxNetwork:
    """A network that takes tiles."""

    kernels = ENGINE

    def __init__(self, session: Session, known: Architecture) -> None:
        self.model = session.model
        self.bytes_per_px = architectures.bytes_per_px(session.model, ENGINE)
        self._session = session
        self._known = known

    def upscale(self, windows: Sequence[Pixels], alone: bool) -> list[Pixels]:  # noqa: ARG002 - one call at a time
        return [self._upscale(window) for window in windows]

    def _upscale(self, window: Pixels) -> Pixels:
        height, width, channels = window.shape
        dtype = depth_of(window)
        padded = _padded(window, self._known.multiple)
        levels = padded.astype(np.float32) / top_level(dtype)
        planes = self._session.run(picture=_to_planes(levels))[0]
        scale = self.model.scale
        inside = planes[:, : height * scale, : width * scale]
        return to_pixels(inside, channels, dtype)


class OnnxPictureNetwork:
    """A network that takes a whole picture."""

    def __init__(self, session: Session, known: Architecture) -> None:
        self.model = session.model
        self._session = session
        self._known = known

    def run(self, picture: Floats) -> Floats:
        """As `engines.PictureNetwork.run`."""
        height, width, _ = picture.shape
        self._session.check_memory(width, height)
        black, white = self._known.input_range
        values = picture * np.float32(white - black) + np.float32(black)
        planes = {self._session.first_input: _to_planes(values)}
        output = self._session.run(**planes)[0]
        if self._known.gives == "picture":
            output = np.clip((output - black) / (white - black), 0, 1)
        return np.ascontiguousarray(output.transpose(1, 2, 0), np.float32)


def _to_planes(picture: Floats) -> Floats:
    """(h, w, 1 or 3) -> (1, 3, h, w), grey as three equal channels."""
    height, width, _ = picture.shape
    planes = np.broadcast_to(picture.transpose(2, 0, 1), (3, height, width))
    return np.ascontiguousarray(planes[np.newaxis])


def _padded(window: Pixels, multiple: int) -> Pixels:
    """The window mirrored beyond its right and lower border up to whole multiples, as
    far as there is something to mirror; then the border repeated.
    """
    height, width, _ = window.shape
    below = -height % multiple
    right = -width % multiple
    mirrored_below = min(below, height - 1)
    mirrored_right = min(right, width - 1)
    mirror = ((0, mirrored_below), (0, mirrored_right), (0, 0))
    rest = ((0, below - mirrored_below), (0, right - mirrored_right), (0, 0))
    return np.pad(np.pad(window, mirror, "reflect"), rest, "edge")
