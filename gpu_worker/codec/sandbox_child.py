"""`python -m gpu_worker.codec.sandbox_child FD`: decodes photos, each in a forked process of
its own under limits.

This process has the decoders loaded and looks at no file itself. Its fork waits for one
photo, with memory already at hand, so that a process of its own costs a photo little
time; and nothing of one photo is left when the next comes. How much memory that is
follows the photo before: where small ones come by the dozen, memory for a large one
would be most of what decoding them takes.
"""

from __future__ import annotations

import gc
import io
import os
import socket
import sys

import numpy as np
from PIL import Image

from gpu_worker.codec import colour
from gpu_worker.codec.decode import Limits, decode, out_of_memory
from gpu_worker.codec.ipc import (
    CAPTIONS,
    Confined,
    Conversion,
    Converted,
    Decoded,
    Envelope,
    Fault,
    Link,
    Request,
    Response,
)
from gpu_worker.photo import Captions, Photo
from shared.errors import Code, PermanentError
from shared.runtime import confinement
from shared.runtime.seccomp import can_refuse_calls, refuse_calls

_SIDES_PX = (128, 512, 1024)
"""Sides of the pictures that memory is brought to hand for."""
_NO_MORE = 3
"""Exit status of a fork that found the worker gone."""
_DECODED = 16
"""Exit status of a fork that decoded a photo, plus the number of the side that would have
been right for it. Whatever a file makes of that costs time alone.
"""
_MOST_CHARACTERS = 2000

Reply = tuple[Response, list[memoryview | bytes]]
"""A header, and the raw bytes that follow it."""


def main(control_fd: int) -> int:
    """Serve until the worker's end of the control socket is closed.

    Each byte on it brings a connection about one photo; its process's wait status goes
    back in four bytes. The first four say that this process is ready, and how a photo's
    process is confined (`ipc.Confined`).
    """
    control = socket.socket(fileno=control_fd)
    confinement.die_with_parent()
    _load_decoders()
    pictures = [_picture("JPEG", side_px) for side_px in _SIDES_PX]
    usual = len(pictures) - 1
    confined = _confine()
    gc.collect()
    gc.freeze()
    control.sendall(confined.to_bytes(4, "big"))
    while True:
        status = _one_photo(control, pictures[usual])
        exited = os.waitstatus_to_exitcode(status)
        if exited == _NO_MORE:
            return 0
        if exited - _DECODED in range(len(pictures)):
            usual, status = exited - _DECODED, 0
        control.sendall(status.to_bytes(4, "big"))


def _load_decoders() -> None:
    """Load here, once, what would be loaded at first use in every fork."""
    for kind in ("PNG", "WEBP", "TIFF", "BMP", "GIF"):
        _decoded_or_fault(_picture(kind, 8), Limits())
    colour.ready()


def _picture(kind: str, side_px: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px)).save(file, kind)
    return file.getvalue()


def _confine() -> Confined:
    """Leave the network where the kernel allows it, give up new privileges, and throw
    away what decoders print.
    """
    confined = Confined(0)
    if confinement.leave_network():
        confined |= Confined.NETWORK
    confinement.give_up_privileges()
    confinement.silence(0, 1, 2)
    if can_refuse_calls():
        confined |= Confined.CALLS
    return confined


def _one_photo(control: socket.socket, usual: bytes) -> int:
    """Serve one photo in a fork; the fork's wait status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            confinement.die_with_parent()
            status = _wait_and_serve(control, usual)
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    return status


def _wait_and_serve(control: socket.socket, usual: bytes) -> int:
    # The heap that this leaves behind is worth more than half of a photo's time.
    _decoded_or_fault(usual, Limits())
    message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not message:
        return _NO_MORE
    control.close()
    connection = socket.socket(fileno=descriptors[0])
    return _serve(Link(connection))


def _serve(link: Link) -> int:
    """Read one request, then give up all that it does not need, then do it; the exit
    status. A preview to convert says nothing of the next photo.
    """
    request = link.receive(Envelope).request
    if isinstance(request, Conversion):
        pixels = link.read(request.width * request.height * 3)
        icc = link.read(request.icc)
        _limit(request)
        refuse_calls()
        response, blobs = _converted(request, pixels, icc)
        status = 0
    else:
        data = link.read(request.bytes)
        _limit(request)
        refuse_calls()
        response, blobs = _decoded_or_fault(data, request.limits, request.page)
        status = _DECODED + _side_for(request.pixels)
    link.send(response, *blobs)
    return status


def _side_for(pixels: int) -> int:
    """The number of the side that is right for a photo of so many pixels."""
    smaller = sum(side_px**2 < pixels for side_px in _SIDES_PX)
    return min(smaller, len(_SIDES_PX) - 1)


def _limit(request: Request | Conversion) -> None:
    # The worker's clock is the limit. Without a worker this one ends two decoding
    # threads, and says so by its signal.
    confinement.limit(2 * request.seconds, request.memory_bytes)


def _decoded_or_fault(data: bytes, limits: Limits, page: int = 1) -> Reply:
    try:
        return _decoded(decode(data, limits, page))
    except PermanentError as error:
        fault = error
    except MemoryError:
        fault = out_of_memory()
    # Outside the handlers, where the memory of the failed try is free again.
    return _fault(fault.code, fault.detail)


def _decoded(photo: Photo) -> Reply:
    meta = photo.meta
    captions = _json(meta.captions)
    header = Decoded.model_validate(
        {
            "shape": photo.pixels.shape,
            "dtype": photo.pixels.dtype.name,
            "alpha": photo.alpha is not None,
            "icc": None if meta.icc is None else len(meta.icc),
            "exif": None if meta.exif is None else len(meta.exif),
            "captions": len(captions),
            "dpi": meta.dpi,
            "source_mode": _clean(photo.source_mode),
            "notes": tuple(_clean(note) for note in photo.notes),
        }
    )
    blobs: list[memoryview | bytes] = []
    for array in (photo.pixels, photo.alpha):
        if array is not None:
            contiguous = np.ascontiguousarray(array)
            blobs.append(contiguous.data.cast("B"))
    blocks = (meta.icc, meta.greys, meta.exif, captions)
    blobs += [block for block in blocks if block]
    return Response(result=header), blobs


def _json(captions: Captions) -> bytes:
    return CAPTIONS.dump_json(captions, exclude_defaults=True) if captions else b""


def _converted(request: Conversion, pixels: bytes, icc: bytes) -> Reply:
    size = (request.width, request.height)
    try:
        image = Image.frombytes("RGB", size, pixels)
        convert, _ = colour.to_srgb("RGB", icc)
        return Response(result=Converted()), [convert(image).tobytes()]
    except Exception as error:
        return _fault(Code.DECODE_ERROR, f"{type(error).__name__}: {error}")


def _fault(code: Code, detail: str) -> Reply:
    fault = Fault(code=code, detail=_clean(detail))
    return Response(result=fault), []


def _clean(text: str) -> str:
    """The text without what UTF-8 cannot hold: some of the words come out of the file."""
    cleaned = text.encode("utf-8", "replace").decode()
    return cleaned[:_MOST_CHARACTERS]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
