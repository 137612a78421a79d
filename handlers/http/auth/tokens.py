"""JSON Web Tokens (RFC 7519, checked as RFC 8725 asks): somebody else says who it is,
in a way that we can verify.

The algorithms are settings, never the token's choice; symmetric and asymmetric ones
cannot be allowed together, so a public key can never be taken for a secret. Keys come
from the configured set alone: `jku`, `x5u` and `jwk` of a header are not looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import anyio
import jwt
from anyio.to_thread import run_sync

from handlers.http.auth.jwks import KINDS, KeySet
from handlers.http.auth.principal import Caller
from shared.access import USUAL
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from shared.s3.clock import Clock
from shared.uploads import identity

LEEWAY_S = 30
"""How far apart the clocks of issuer and object store, whose time is ours, may be."""
LAST_S = 253_402_300_799
"""The end of the year 9999, in seconds since 1970: no token names a later time, but for
one in milliseconds.
"""
MAX_CHARS = 8192
TOO_LONG = f"it has more than {MAX_CHARS} characters"
FETCHERS = 4
"""Threads that may wait for a key set; all but one of them for the first."""
MIN_SECRET_BYTES = 32
REQUIRED = ("exp", "iss", "aud", "sub")
RESERVED = (identity.ANONYMOUS, "operator")
"""Users of our own; no issuer may speak for them."""


class InvalidToken(Exception):
    """The token is not one of ours, or not good any more; the reason is for the log and
    for its sender.
    """


class Tokens:
    """Checks tokens. Raises `SettingsError` at the start where the settings leave
    anything open.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._secret = settings.jwt_secret.get_secret_value()
        self._algorithms = _algorithms(settings)
        self._issuer, self._audience = settings.jwt_issuer, settings.jwt_audience
        self._pepper = settings.pepper.get_secret_value().encode()
        self._keys = (
            KeySet(settings.jwt_jwks_url, self._algorithms, clock)
            if settings.jwt_jwks_url
            else None
        )
        self._clock = clock
        self._limiter = anyio.CapacityLimiter(FETCHERS)

    @property
    def accepted(self) -> bool:
        """Are there settings for tokens at all?"""
        return bool(self._algorithms)

    async def caller(self, token: str) -> Caller:
        """Who the token speaks for. Raises `InvalidToken`, and `TransientError` while
        its key cannot be fetched.
        """
        try:
            claims = self._claims(token, await self._key(token))
            _check_times(claims, self._clock.now().timestamp())
            user_hash = identity.user_hash(claims["sub"], self._pepper)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken(_reason(error)) from error
        if not claims["sub"] or claims["sub"] in RESERVED:
            raise InvalidToken("its subject cannot be a user here")
        return Caller(user_hash, operator=False, scopes=_scopes(claims), key_id="jwt")

    async def _key(self, token: str) -> jwt.PyJWK | str:
        if self._keys is None:
            return self._secret
        if len(token) > MAX_CHARS:
            raise InvalidToken(TOO_LONG)
        header = jwt.get_unverified_header(token)
        kid, algorithm = header.get("kid"), str(header.get("alg"))
        if not (kid is None or isinstance(kid, str)):
            raise InvalidToken("its key's name (kid) is no text")
        ready = self._keys.has(kid, algorithm)
        keys = (
            self._keys.known(kid, algorithm)
            if ready
            else await self._fetched(self._keys, kid, algorithm)
        )
        if len(keys) == 1:
            return keys[0]
        if kid is None:
            raise InvalidToken(
                f"it names no key (kid), and {len(keys)} of the issuer's set could be meant, not one"
            )
        raise InvalidToken("its key (kid) is not in the issuer's set")

    async def _fetched(
        self, keys: KeySet, kid: str | None, algorithm: str
    ) -> list[jwt.PyJWK]:
        return await run_sync(keys.find, kid, algorithm, limiter=self._limiter)

    def _claims(self, token: str, key: jwt.PyJWK | str) -> dict[str, Any]:
        if len(token) > MAX_CHARS:
            raise InvalidToken(TOO_LONG)
        return jwt.decode(
            token,
            key,
            [key.algorithm_name]
            if isinstance(key, jwt.PyJWK)
            else list(self._algorithms),
            audience=self._audience,
            issuer=self._issuer,
            # The library's clock is the machine's: `_check_times` goes by the store's.
            options={
                "require": list(REQUIRED),
                "enforce_minimum_key_length": True,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )


def _check_times(claims: dict[str, Any], now_s: float) -> None:
    """Raises `InvalidToken` for a token that is not good at `now_s`, or does not say so
    in seconds since 1970.
    """
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    for name, value in times.items():
        # Infinity and NaN, which Python's JSON reader takes, are in no range.
        if isinstance(value, bool) or not (
            isinstance(value, int | float) and 0 <= value <= LAST_S
        ):
            raise InvalidToken(f"its {name} is no time in seconds since 1970")
    if times["exp"] <= now_s - LEEWAY_S:
        raise InvalidToken("it has expired")
    if max(times.get("nbf", 0), times.get("iat", 0)) > now_s + LEEWAY_S:
        raise InvalidToken("it is not good yet")


def _algorithms(settings: Settings) -> tuple[str, ...]:
    """Those that are allowed: as set, or what fits the kind of key. None: no tokens are
    accepted.
    """
    secret, url = settings.jwt_secret.get_secret_value(), settings.jwt_jwks_url
    named = tuple(
        name.strip() for name in settings.jwt_algorithms.split(",") if name.strip()
    )
    if not (secret or url):
        _check(
            not (named or settings.jwt_issuer),
            "DARKROOM_JWT_JWKS_URL or DARKROOM_JWT_SECRET is missing",
        )
        return ()
    _check(
        not (secret and url),
        "DARKROOM_JWT_SECRET and DARKROOM_JWT_JWKS_URL exclude each other",
    )
    _check(
        bool(settings.jwt_issuer and settings.jwt_audience),
        "tokens need DARKROOM_JWT_ISSUER and _AUDIENCE",
    )
    possible: Collection[str] = KINDS if url else ("HS256",)
    _check(
        set(named) <= set(possible),
        f"DARKROOM_JWT_ALGORITHMS may name {', '.join(possible)} with this kind of key",
    )
    if url:
        _check(
            _is_safe(url),
            "DARKROOM_JWT_JWKS_URL must be https (http only on this machine)",
        )
    else:
        _check(
            len(secret.encode()) >= MIN_SECRET_BYTES,
            f"DARKROOM_JWT_SECRET needs {MIN_SECRET_BYTES} bytes",
        )
    return named or tuple(possible)


def _check(true: bool, rule: str) -> None:
    if not true:
        raise SettingsError(rule)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    )


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """`scope` (RFC 8693: words) or `scopes` (a list); without either the usual ones.
    `admin` is for keys of ours.
    """
    given = claims.get("scopes") if claims.get("scope") is None else claims["scope"]
    if given is None:
        return frozenset(USUAL)
    words = (
        given.split()
        if isinstance(given, str)
        else given
        if isinstance(given, list)
        else []
    )
    return frozenset(USUAL) & {word for word in words if isinstance(word, str)}


def _reason(error: Exception) -> str:
    """A sentence of ours: the library's may quote the token."""
    known: dict[type[Exception], str] = {
        jwt.InvalidAudienceError: "it is for somebody else (aud)",
        jwt.InvalidIssuerError: "it is from somebody else (iss)",
        jwt.MissingRequiredClaimError: f"it lacks one of {', '.join(REQUIRED)}",
        jwt.InvalidAlgorithmError: "its algorithm is not allowed",
        jwt.InvalidSignatureError: "its signature is wrong",
    }
    return known.get(type(error), "it cannot be read")
