"""One file of a result, signed with what its record says, and with its original as the
parent.
"""

from __future__ import annotations

from typing import IO

from shared.credentials import confined
from shared.credentials.confined import CredentialFault, Reading
from shared.credentials.definition import definition, parent
from shared.credentials.identity import Identity
from shared.uploads.documents import Record


def sign(
    identity: Identity,
    record: Record,
    key: str,
    asset: IO[bytes],
    original: IO[bytes] | None,
    out: IO[bytes],
    *,
    embeds: bool,
) -> list[str]:
    """Write the signed file, or its credentials alone, into the empty file `out`; what
    is to be told about the original's own credentials.

    `key`: of the file, as it lies in the bucket, or would. Raises `CredentialFault`, and
    what the identity raises.
    """

    def signed(original: IO[bytes] | None) -> Reading | None:
        return confined.sign(
            identity,
            definition(record, key),
            parent(record),
            asset,
            original,
            out,
            embeds=embeds,
        )

    try:
        return _told(signed(original))
    except CredentialFault as fault:
        if original is None:
            raise
        # A broken original must not cost its result the signature.
        out.seek(0)
        out.truncate()
        signed(None)
        return [f"the original's content credentials were left out: {fault.detail}"]


def _told(carried: Reading | None) -> list[str]:
    if carried is None:
        return []
    if carried.is_valid:
        return ["the original's content credentials are carried along"]
    codes = ", ".join(carried.failures) or carried.state
    return [
        f"the original's content credentials are carried along, and faulty: {codes}"
    ]
