"""Where the content credentials of an export lie. Whoever only verifies loads no more."""

from __future__ import annotations

import mimetypes

LIST = "credentials.csv"
"""Which files are signed, and where their content credentials lie."""
EMBEDDED = "embedded"
SUFFIX = ".c2pa"
"""Of the file that lies beside a signed one."""


def media_type(path: str) -> str:
    """The media type of a picture by its name."""
    return mimetypes.guess_type(path)[0] or "application/octet-stream"
