"""The key set of whoever issues our tokens (JWKS, RFC 7517): fetched from the one
address that is set, kept, and fetched again when it is old or names a key that we do
not know, but never more often than once a minute.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Collection, Sequence

import httpx
from jwt import PyJWK, PyJWTError

from shared.errors import Code, TransientError
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock

FRESH_S = 600.0
"""A set older than this is fetched again at the next use."""
PAUSE_S = 60.0
"""Least time between two fetches, whatever ids tokens name."""
STALE_S = 86_400.0
"""For so long a set is used although its address does not answer."""
TIMEOUT_S = 5.0
MAX_BYTES = 256 << 10
MAX_KEYS = 100
KINDS = {"RS256": "RSA", "ES256": "EC"}
"""Algorithm → type of its keys. A key signs by its own algorithm, whatever a token's
header says.
"""


class KeySet:
    """Thread-safe; it blocks while it fetches."""

    def __init__(self, url: str, algorithms: Collection[str], clock: Clock) -> None:
        self._url, self._algorithms, self._clock = url, frozenset(algorithms), clock
        self._lock = threading.Lock()
        self._keys: Sequence[PyJWK] = ()
        self._fetched_at = self._tried_at = float("-inf")

    def has(self, kid: str | None, algorithm: str) -> bool:
        """Can `find` answer without a fetch?"""
        now = self._clock.monotonic()
        return bool(
            self._fit(kid, algorithm) and now < self._fetched_at + FRESH_S
        ) or not self._may_fetch(now)

    def find(self, kid: str | None, algorithm: str) -> list[PyJWK]:
        """The key of this id, or, where a token names none, all of its algorithm: from
        this set alone.

        Raises `TransientError` while there is no set to look into.
        """
        if not self.has(kid, algorithm):
            with self._lock:
                if not self.has(kid, algorithm):  # somebody fetched it while we waited
                    self._fetch()
        return self.known(kid, algorithm)

    def known(self, kid: str | None, algorithm: str) -> list[PyJWK]:
        """The same without a fetch, for those who may not wait. Raises like `find`."""
        if self._clock.monotonic() > self._fetched_at + STALE_S:
            raise TransientError(
                Code.INTERNAL,
                "the key set of the token's issuer cannot be fetched; try again",
            )
        return self._fit(kid, algorithm)

    def _fit(self, kid: str | None, algorithm: str) -> list[PyJWK]:
        if kid is None:
            return [key for key in self._keys if key.algorithm_name == algorithm]
        return [key for key in self._keys if key.key_id == kid][-1:]

    def _may_fetch(self, now: float) -> bool:
        return now >= self._tried_at + PAUSE_S

    def _fetch(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            self._keys = self._parse(_download(self._url))
        except (httpx.HTTPError, OSError, ValueError) as error:
            logger().warning("access.keys_unavailable", error=type(error).__name__)
        else:
            self._fetched_at = asked_at
        self._tried_at = asked_at  # last: who asks meanwhile waits for the answer

    def _parse(self, body: bytes) -> list[PyJWK]:
        """Keys: those that can be read, are meant for signatures and fit an algorithm
        that is allowed.
        """
        document = json.loads(body)
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise ValueError("not a key set")  # noqa: TRY004 - a bad document, not a bad call
        return [key for entry in entries[:MAX_KEYS] if (key := self._key(entry))]

    def _key(self, entry: object) -> PyJWK | None:
        if (
            not isinstance(entry, dict)
            or entry.get("use", "sig") != "sig"
            or not isinstance(entry.get("kid", ""), str)
        ):
            return None
        try:
            key = PyJWK(entry)
        except (PyJWTError, ValueError, TypeError):
            return None
        name = key.algorithm_name
        return (
            key
            if name in self._algorithms and KINDS.get(name) == entry.get("kty")
            else None
        )


def _download(url: str) -> bytes:
    """The document, within `TIMEOUT_S`, however slowly it trickles. Raises `HTTPError`,
    `ValueError`, `OSError`.
    """
    return asyncio.run(asyncio.wait_for(_read(url), TIMEOUT_S))


async def _read(url: str) -> bytes:
    """No redirects, and not much of it."""
    body = bytearray()
    async with (
        httpx.AsyncClient() as client,
        client.stream("GET", url, follow_redirects=False) as answer,
    ):
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}")
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError("too large")
    return bytes(body)
