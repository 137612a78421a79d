"""JSON Web Tokens (RFC 7519, checked as RFC 8725 recommends): an issuer vouches for a
user, and its signature is verified.

The algorithms are settings, never the token's choice; symmetric and asymmetric ones
cannot be allowed together, so a public key can never be taken for a secret. Keys come
from the configured set alone: `jku`, `x5u` and `jwk` of a header are ignored.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import anyio
import jwt
from anyio.to_thread import run_sync

from handlers.http.auth.jwks import KINDS, KeySet
from handlers.http.auth.principal import Principal
from shared.access import USUAL
from shared.errors import SettingsError
from shared.runtime.settings import AccessSettings
from shared.s3.clock import Clock
from shared.uploads import identity

LEEWAY_S = 30
"""How far apart the clocks of issuer and object store, whose time is ours, may be."""
LAST_S = 253_402_300_799
"""The end of the year 9999, in seconds since 1970: a later time is one in milliseconds.
"""
MAX_CHARS = 8192
TOO_LONG = f"it has more than {MAX_CHARS} characters"
FETCHERS = 4
"""Threads that may wait for a key set; all but one of them for the first."""
MIN_SECRET_BYTES = 32
REQUIRED = ("exp", "iss", "aud", "sub")
RESERVED = (identity.ANONYMOUS, "operator")
"""Users of our own; no issuer may speak for them."""
REASONS: dict[type[Exception], str] = {
    jwt.InvalidAudienceError: "it is for another audience (aud)",
    jwt.InvalidIssuerError: "it is from another issuer (iss)",
    jwt.MissingRequiredClaimError: f"it lacks one of {', '.join(REQUIRED)}",
    jwt.InvalidAlgorithmError: "its algorithm is not allowed",
    jwt.InvalidSignatureError: "its signature is wrong",
}
"""Sentences of ours: those of the library may quote the token."""

Claims = dict[str, Any]


class InvalidToken(Exception):
    """The token or key is unknown, or not good any more; the reason is for the log and
    for its sender.
    """


class Tokens:
    """Checks tokens. Raises `SettingsError` where the settings leave anything open."""

    def __init__(
        self,
        settings: AccessSettings,
        clock: Clock,
    ) -> None:
        self._secret = settings.jwt_secret.get_secret_value()
        self._algorithms = _algorithms(settings)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._pepper = settings.pepper.get_secret_value().encode()
        self._keys: KeySet | None = None
        if settings.jwt_jwks_url:
            self._keys = KeySet(settings.jwt_jwks_url, self._algorithms, clock)
        self._clock = clock
        self._limiter = anyio.CapacityLimiter(FETCHERS)

    @property
    def accepted(self) -> bool:
        """Whether the settings allow tokens at all."""
        return bool(self._algorithms)

    async def principal(self, token: str) -> Principal:
        """Raises `InvalidToken`, and `TransientError` while the key cannot be fetched."""
        user_hash, claims = await self.verified(token)
        return Principal(
            user_hash,
            operator=False,
            scopes=_scopes(claims),
            key_id="jwt",
        )

    async def verified(self, token: str) -> tuple[str, Claims]:
        """The pseudonym of a token's user, and its claims. Raises as `principal` does."""
        if len(token) > MAX_CHARS:
            raise InvalidToken(TOO_LONG)
        try:
            claims = self._claims(token, await self._key(token))
            _check_times(claims, self._clock.now().timestamp())
            subject = claims["sub"]
            user_hash = identity.user_hash(subject, self._pepper)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise InvalidToken(_reason(error)) from error
        if not subject or subject in RESERVED:
            raise InvalidToken("its subject cannot be a user here")
        return user_hash, claims

    async def _key(self, token: str) -> jwt.PyJWK | str:
        if self._keys is None:
            return self._secret
        header = jwt.get_unverified_header(token)
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise InvalidToken("its key's name (kid) is no text")
        keys = await self._find(self._keys, kid, str(header.get("alg")))
        if len(keys) == 1:
            return keys[0]
        if kid is None:
            raise InvalidToken(
                f"it names no key (kid), and {len(keys)} of the issuer's set could be meant, not one"
            )
        raise InvalidToken("its key (kid) is not in the issuer's set")

    async def _find(
        self,
        keys: KeySet,
        kid: str | None,
        algorithm: str,
    ) -> list[jwt.PyJWK]:
        if keys.has(kid, algorithm):
            return keys.known(kid, algorithm)
        return await run_sync(keys.find, kid, algorithm, limiter=self._limiter)

    def _claims(
        self,
        token: str,
        key: jwt.PyJWK | str,
    ) -> Claims:
        algorithms = list(self._algorithms)
        if isinstance(key, jwt.PyJWK):
            algorithms = [key.algorithm_name]
        return jwt.decode(
            token,
            key,
            algorithms,
            audience=self._audience,
            issuer=self._issuer,
            options={
                "require": list(REQUIRED),
                "enforce_minimum_key_length": True,
                # The library's clock is the machine's: `_check_times` uses the store's.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )


def _check_times(claims: Claims, now_s: float) -> None:
    """Raises `InvalidToken` for a token that is not good at `now_s`, or whose times are
    not in seconds since 1970.
    """
    earliest_s = now_s - LEEWAY_S
    latest_s = now_s + LEEWAY_S
    expires_s = _time(claims, "exp")
    not_before_s = _time(claims, "nbf")
    issued_s = _time(claims, "iat")
    if expires_s <= earliest_s:
        raise InvalidToken("it has expired")
    if max(not_before_s, issued_s) > latest_s:
        raise InvalidToken("it is not good yet")


def _time(claims: Claims, name: str) -> float:
    """A claim in seconds since 1970; 0 without it. Raises `InvalidToken`."""
    value = claims.get(name, 0)
    if not _is_time(value):
        raise InvalidToken(f"its {name} is no time in seconds since 1970")
    return float(value)


def _is_time(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Infinity and NaN, which Python's JSON reader takes, are in no range.
    return 0 <= value <= LAST_S


def _algorithms(settings: AccessSettings) -> tuple[str, ...]:
    """The allowed algorithms: those that are set, or all that fit the kind of key. None
    at all: tokens are not accepted.
    """
    secret = settings.jwt_secret.get_secret_value()
    url = settings.jwt_jwks_url
    parts = [part.strip() for part in settings.jwt_algorithms.split(",")]
    named = tuple(part for part in parts if part)
    if not secret and not url:
        missing = "DARKROOM_JWT_JWKS_URL or DARKROOM_JWT_SECRET is missing"
        _check(not named and not settings.jwt_issuer, missing)
        return ()
    exclusive = "DARKROOM_JWT_SECRET and DARKROOM_JWT_JWKS_URL exclude each other"
    _check(not (secret and url), exclusive)
    has_names = bool(settings.jwt_issuer and settings.jwt_audience)
    _check(has_names, "tokens need DARKROOM_JWT_ISSUER and _AUDIENCE")
    _check_key(secret, url)
    return _fitting(named, tuple(KINDS) if url else ("HS256",))


def _check_key(secret: str, url: str) -> None:
    if url:
        rule = "DARKROOM_JWT_JWKS_URL must be https (http only on this machine)"
        _check(is_safe(url), rule)
    else:
        rule = f"DARKROOM_JWT_SECRET needs {MIN_SECRET_BYTES} bytes"
        _check(len(secret.encode()) >= MIN_SECRET_BYTES, rule)


def _fitting(
    named: tuple[str, ...],
    possible: tuple[str, ...],
) -> tuple[str, ...]:
    rule = (
        f"DARKROOM_JWT_ALGORITHMS may name {', '.join(possible)} with this kind of key"
    )
    _check(set(named) <= set(possible), rule)
    return named or possible


def _check(holds: bool, rule: str) -> None:
    if not holds:
        raise SettingsError(rule)


def is_safe(url: str) -> bool:
    """Whether it is an address, and nobody between can read what goes there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.hostname or not url.isprintable() or " " in url:
        return False
    if parts.scheme == "https":
        return True
    local = ("127.0.0.1", "::1", "localhost")
    return parts.scheme == "http" and parts.hostname in local


def _scopes(claims: Claims) -> frozenset[str]:
    """`scope` (RFC 8693: words) or `scopes` (a list); without either the usual ones.

    `admin` is for keys of ours.
    """
    scopes = claims.get("scope")
    if scopes is None:
        scopes = claims.get("scopes")
    if scopes is None:
        return frozenset(USUAL)
    return frozenset(USUAL) & _words(scopes)


def _words(scopes: object) -> set[str]:
    if isinstance(scopes, str):
        return set(scopes.split())
    if isinstance(scopes, list):
        return {word for word in scopes if isinstance(word, str)}
    return set()


def _reason(error: Exception) -> str:
    return REASONS.get(type(error), "it cannot be read")
