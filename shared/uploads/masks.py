"""The mask of a repair as a picture that somebody sent: how the parameter `mask` names
it.
"""

from __future__ import annotations

BY_TICKET = "ticket:"
"""Of what was sent for a ticket of the same user: what a request says."""
BY_CHECKSUM = "sha256:"
"""What is signed in its place, so that results of two masks never mix."""


def is_picture(mask: str) -> bool:
    """Whether the resolved parameter means a picture, and no strokes of a brush."""
    return mask.startswith(BY_CHECKSUM)
