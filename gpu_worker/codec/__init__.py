"""Bytes ↔ pixels: an upload is decoded into a `Photo`, a result is written as PNG, a
preview as WebP and copies in other formats, and all of them are labelled.
"""

from gpu_worker.codec.copies import obstacle, write_copy
from gpu_worker.codec.decode import Limits, decode
from gpu_worker.codec.decoders import Decoders
from gpu_worker.codec.draft import Draft
from gpu_worker.codec.labels import texts
from gpu_worker.codec.png import XMP_KEYWORD, Written, write_mask, write_png
from gpu_worker.codec.preview import preview
from gpu_worker.codec.sandbox import Decoder
from gpu_worker.codec.watermark import check_label, stamp

__all__ = [
    "XMP_KEYWORD",
    "Decoder",
    "Decoders",
    "Draft",
    "Limits",
    "Written",
    "check_label",
    "decode",
    "obstacle",
    "preview",
    "stamp",
    "texts",
    "write_copy",
    "write_mask",
    "write_png",
]
