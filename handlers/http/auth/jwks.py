"""The key set of the issuer of tokens (JWKS, RFC 7517).

It is fetched from the one address that is set, cached, and fetched again when it is old
or a token names a key that is not in it, but never more often than once a minute.
PyJWT's `PyJWKClient` bounds neither the size nor the whole time of a response, and its
pause begins after successful fetches only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Sequence

import httpx
from jwt import PyJWK, PyJWTError

from handlers.http.auth.bounded import download
from shared.errors import Code, TransientError
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock

FRESH_S = 600.0
"""A set older than this is fetched again at the next use."""
PAUSE_S = 60.0
"""Least time between two fetches, whatever ids tokens name."""
STALE_S = 86_400.0
"""For so long a set is used although its address does not answer."""
MAX_KEYS = 100
KINDS = {"RS256": "RSA", "ES256": "EC"}
"""Algorithm → type of its keys. A key signs by its own algorithm, whatever a token's
header says.
"""


class KeySet:
    """Thread-safe; it blocks while it fetches."""

    def __init__(
        self,
        url: str,
        algorithms: Collection[str],
        clock: Clock,
    ) -> None:
        self._url = url
        self._algorithms = frozenset(algorithms)
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Sequence[PyJWK] = ()
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")

    def has(self, kid: str | None, algorithm: str) -> bool:
        """Whether `find` answers without a fetch."""
        now = self._clock.monotonic()
        is_fresh = now < self._fetched_at + FRESH_S
        if is_fresh and self._matching(kid, algorithm):
            return True
        may_fetch = now >= self._tried_at + PAUSE_S
        return not may_fetch

    def find(
        self,
        kid: str | None,
        algorithm: str,
    ) -> list[PyJWK]:
        """The key of this id; where a token names none, all keys of its algorithm.

        Raises `TransientError` while there is no set.
        """
        if not self.has(kid, algorithm):
            with self._lock:
                # Another thread may have fetched while this one waited.
                if not self.has(kid, algorithm):
                    self._fetch()
        return self.known(kid, algorithm)

    def known(
        self,
        kid: str | None,
        algorithm: str,
    ) -> list[PyJWK]:
        """Like `find`, without a fetch and without blocking."""
        if self._clock.monotonic() > self._fetched_at + STALE_S:
            detail = "the key set of the token's issuer cannot be fetched; try again"
            raise TransientError(Code.INTERNAL, detail)
        return self._matching(kid, algorithm)

    def _matching(
        self,
        kid: str | None,
        algorithm: str,
    ) -> list[PyJWK]:
        if kid is None:
            return [key for key in self._keys if key.algorithm_name == algorithm]
        return [key for key in self._keys if key.key_id == kid][-1:]

    def _fetch(self) -> None:
        started_at = self._clock.monotonic()
        try:
            self._keys = self._parse(download(self._url))
        except (httpx.HTTPError, OSError, ValueError) as error:
            logger().warning("access.keys_unavailable", error=type(error).__name__)
        else:
            self._fetched_at = started_at
        # Last: until now `has` makes other threads wait for this fetch.
        self._tried_at = started_at

    def _parse(self, body: bytes) -> list[PyJWK]:
        """The keys that can be read, are meant for signatures and fit an allowed
        algorithm. Raises `ValueError`.
        """
        document = json.loads(body)
        entries = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise ValueError("not a key set")  # noqa: TRY004 - a bad document, not a bad call
        keys = []
        for entry in entries[:MAX_KEYS]:
            key = self._key(entry)
            if key:
                keys.append(key)
        return keys

    def _key(self, entry: object) -> PyJWK | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("kid", ""), str):
            return None
        if entry.get("use", "sig") != "sig":
            return None
        try:
            key = PyJWK(entry)
        except (PyJWTError, ValueError, TypeError):
            return None
        name = key.algorithm_name
        is_allowed = name in self._algorithms and KINDS.get(name) == entry.get("kty")
        return key if is_allowed else None
