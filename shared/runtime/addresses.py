"""Addresses as they may be shown. The client imports it, which has no settings."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)[^/?#\s]*(?=@)")
"""Who asks, and by which password, in an address."""


def without_passwords(text: str) -> str:
    """A text whose addresses name neither a user nor a password."""
    return _USER_INFO.sub("***", text)
