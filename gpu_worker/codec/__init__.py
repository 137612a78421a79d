"""Bytes ↔ pixels: an upload is decoded into a `Photo`, a result is written as PNG and a
preview as WebP, and both are labelled.
"""

from gpu_worker.codec.decode import Limits, decode
from gpu_worker.codec.decoders import Decoders
from gpu_worker.codec.labels import texts
from gpu_worker.codec.png import Written, write_mask, write_png
from gpu_worker.codec.preview import preview
from gpu_worker.codec.sandbox import Decoder
from gpu_worker.codec.watermark import check_label, stamp

__all__ = [
    "Decoder",
    "Decoders",
    "Limits",
    "Written",
    "check_label",
    "decode",
    "preview",
    "stamp",
    "texts",
    "write_mask",
    "write_png",
]
