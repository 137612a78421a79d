"""`python -m shared.credentials.child FD`: reads or makes the content credentials of one
file, in a process that has neither keys nor secrets.

Requests and answers are lines of JSON on a socket; files come as open descriptors. What
is to be signed is asked of the parent.
"""

from __future__ import annotations

import base64
import io
import os
import socket
import sys
from functools import partial
from typing import IO, Any

import c2pa

from shared.credentials.channel import NO_CREDENTIALS, Channel
from shared.runtime import confinement
from shared.runtime.seccomp import refuse_calls

UNTRUSTED = "signingCredential.untrusted"
"""A fault to readers who know the signer's root, which most do not."""
SPILL_MIB = 32
"""Of a larger file the library keeps what it needs on the disk."""
_SETTINGS = {
    "verify": {
        "verify_after_sign": False,
        "ocsp_fetch": False,
        "remote_manifest_fetch": False,
    },
    "builder": {"thumbnail": {"enabled": False}},
    "core": {"backing_store_memory_threshold_in_mb": SPILL_MIB},
}


class _Nowhere(io.RawIOBase):
    """A file that forgets what is written and knows its length, for the picture that
    comes with a sidecar and is none of ours to keep.
    """

    def __init__(self) -> None:
        self._position = 0
        self._length = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, _: int = -1) -> bytes:
        return b""

    def write(self, data: Any) -> int:
        self._position += len(data)
        self._length = max(self._length, self._position)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_CUR: self._position, os.SEEK_END: self._length}
        self._position = starts.get(whence, 0) + offset
        return self._position

    def tell(self) -> int:
        return self._position


def main(fd: int) -> int:
    """Serve one request."""
    confinement.die_with_parent()
    channel = Channel(socket.socket(fileno=fd))
    request = channel.receive()
    _confine(request)
    act = _read if request["action"] == "read" else partial(_sign, channel)
    try:
        answer = act(request)
    except c2pa.C2paError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs more memory than a file of its size may take"}
    channel.send(answer)
    return 0


def _confine(request: dict[str, Any]) -> None:
    # An authority for time stamps is asked by the library itself.
    if not request.get("tsa_url"):
        confinement.leave_network()
    confinement.give_up_privileges()
    confinement.limit(
        request["seconds"], request["memory_bytes"], request["file_bytes"]
    )
    # Signing opens files of its own for what does not fit into memory; reading opens
    # none.
    if request["action"] == "read":
        refuse_calls()


def _read(request: dict[str, Any]) -> dict[str, Any]:
    settings = dict(_SETTINGS)
    if request["roots"]:
        settings["trust"] = {"trust_anchors": request["roots"]}
    with _opened(request["asset"]) as asset:
        return _reading(asset, request["type"], _bytes(request["manifest"]), settings)


def _reading(
    asset: IO[bytes], media_type: str, manifest: bytes | None, settings: dict[str, Any]
) -> dict[str, Any]:
    context = c2pa.Context(c2pa.Settings.from_dict(settings))
    reader = c2pa.Reader(media_type, asset, manifest, context=context)
    active = reader.get_active_manifest() or {}
    signed = active.get("signature_info", {})
    results = (reader.get_validation_results() or {}).get("activeManifest", {})
    failures = [each["code"] for each in results.get("failure", [])]
    return {
        "state": reader.get_validation_state(),
        "issuer": signed.get("issuer"),
        "name": signed.get("common_name"),
        "time": signed.get("time"),
        "failures": [code for code in failures if code != UNTRUSTED],
    }


def _sign(channel: Channel, request: dict[str, Any]) -> dict[str, Any]:
    context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))
    signer = c2pa.Signer.from_callback(
        partial(_signature, channel),
        getattr(c2pa.C2paSigningAlg, request["algorithm"].upper()),
        request["chain"],
        request["tsa_url"] or None,
    )
    definition = request["definition"]
    parent = request["parent"]
    original = request["original"]
    carried: dict[str, Any] = {}
    if original is None:
        definition["ingredients"] = [parent]
    builder = c2pa.Builder(definition, context=context)
    if original is not None:
        with _opened(original) as file:
            carried = _carried(file, parent["format"])
            file.seek(0)
            builder.add_ingredient(parent, parent["format"], file)
    with _opened(request["asset"]) as asset:
        _write(builder, signer, request, asset)
    return {"carried": carried}


def _carried(original: IO[bytes], media_type: str) -> dict[str, Any]:
    """What the original's own credentials are worth; nothing where it has none."""
    try:
        return _reading(original, media_type, None, _SETTINGS)
    except c2pa.C2paError as error:
        told = str(error)
    if NO_CREDENTIALS in told or "NotSupported" in told:
        return {}
    return {"state": "Invalid", "failures": [told]}


def _write(
    builder: c2pa.Builder,
    signer: c2pa.Signer,
    request: dict[str, Any],
    asset: IO[bytes],
) -> None:
    with os.fdopen(request["out"], "w+b") as out:
        if request["embeds"]:
            builder.sign(signer, request["type"], asset, out)
            return
        builder.set_no_embed()
        out.write(builder.sign(signer, request["type"], asset, _Nowhere()))


def _signature(channel: Channel, data: bytes) -> bytes:
    channel.send({"to_sign": base64.b64encode(data).decode()})
    return base64.b64decode(channel.receive()["signature"])


def _opened(fd: int) -> IO[bytes]:
    file = os.fdopen(fd, "rb")
    file.seek(0)
    return file


def _bytes(fd: int | None) -> bytes | None:
    if fd is None:
        return None
    with _opened(fd) as file:
        return file.read()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
