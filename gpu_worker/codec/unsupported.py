"""The error for photos that can be decoded and not restored."""

from __future__ import annotations

from shared.errors import Code, PermanentError


def unsupported(what: str) -> PermanentError:
    """The error for pixels of a layout that cannot be restored."""
    detail = f"{what} cannot be restored; save the photo as 8- or 16-bit grey or RGB with interleaved channels"
    return PermanentError(Code.UNSUPPORTED_MODE, detail)
