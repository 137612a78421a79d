"""How a store refuses one object: the same kinds for the store in memory and for the
proxy before a real one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """What is answered for the key, in place of the object.

    With `status` 200 it is a body that ends early (`is_cut`), or no answer at all
    (`hangs`).
    """

    status: int
    code: str = ""
    is_cut: bool = False
    hangs: bool = False


FORBIDDEN = Refusal(403, "AccessDenied")
"""By a policy for objects with a tag, or the key of an encryption that is not ours to
use.
"""
ARCHIVED = Refusal(403, "InvalidObjectState")
"""Moved to where it must be fetched back from first."""
KMS_DISABLED = Refusal(400, "KMS.DisabledException")
WANTS_A_KEY = Refusal(400, "InvalidRequest")
"""Encrypted with a key that its client keeps."""
MISSING = Refusal(404, "NoSuchKey")
BROKEN = Refusal(500, "InternalError")
"""A chunk of it cannot be read."""
BUSY = Refusal(503, "SlowDown")
CUT = Refusal(200, is_cut=True)
HANGING = Refusal(200, hangs=True)

REFUSALS = {
    "forbidden": FORBIDDEN,
    "archived": ARCHIVED,
    "kms-disabled": KMS_DISABLED,
    "wants-a-key": WANTS_A_KEY,
    "missing": MISSING,
    "broken": BROKEN,
    "busy": BUSY,
    "cut": CUT,
    "hanging": HANGING,
}

METHODS = ("GET", "HEAD", "PUT", "COPY", "DELETE", "LIST")
"""`COPY` is refused by its source, `PUT` by what it writes; `LIST` by the prefix that
is listed.
"""
