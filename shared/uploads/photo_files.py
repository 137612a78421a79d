"""Which files are taken for photographs. Whether a file is one, its bytes say."""

from __future__ import annotations

FORMATS = (
    "JPEG",
    "PNG",
    "WebP",
    "TIFF",
    "BMP",
    "GIF",
    "HEIC",
    "AVIF",
    "JPEG 2000",
    "PSD",
    *("DNG", "CR2", "NEF", "ARW", "PEF", "SRW"),
)
MOST_PAGES = 9999
"""The largest number of a page that may be asked for."""
SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
        *(".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
        *(".heic", ".heif", ".hif", ".avif"),
        *(".jp2", ".j2k", ".jpf", ".jpx", ".psd"),
        *(".dng", ".cr2", ".nef", ".arw", ".pef", ".srw"),
    ]
)
"""Names that photographs have, in lower case."""
