"""Signing in by an OpenID provider: the authorization code flow with PKCE (OpenID Connect
Core 1.0, RFC 7636), as RFC 9700 recommends.

Signing out leads to the provider, too, where it has a place for that (OpenID Connect
RP-Initiated Logout 1.0).

The provider is the issuer of tokens, `DARKROOM_JWT_ISSUER`, with the keys that are set
for it. Its endpoints come from its discovery document, which has to name the same
issuer. What belongs to one try (state, nonce, verifier) is in a cookie of the browser
that began it: a code that was got elsewhere opens nothing here.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx

from handlers.http.auth.bounded import download
from handlers.http.auth.tokens import InvalidToken, Tokens, is_safe
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from shared.s3.clock import Clock

CALLBACK = "/console/oidc/callback"
SIGNED_OUT = "/console/sign-in"
LASTS_S = 600
FRESH_S = 600.0
"""The discovery document is read again after this time."""
MAX_CODE_CHARS = 4096
MAX_HINT_CHARS = 3500
"""A browser takes no cookie of more than 4096."""
NO_HINT = "none"
DISCOVERY = "/.well-known/openid-configuration"


class Refused(Exception):
    """Nobody is signed in; the reason is for the log, never for the address bar."""


@dataclass(frozen=True)
class Attempt:
    """What binds an answer of the provider to the browser that asked for it."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    def to_cookie(self) -> str:
        return f"{self.state}.{self.nonce}.{self.verifier}"

    @classmethod
    def from_cookie(cls, text: str | None) -> Attempt:
        """Raises `Refused` for what was never given."""
        parts = (text or "").split(".")
        if len(parts) != 3 or not all(parts):
            raise Refused("this browser has begun no sign-in, or too long ago")
        return cls(*parts)

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True)
class SignedIn:
    """Who the provider says has signed in. `hint`: what the browser keeps of the ID token,
    to sign out at the provider.
    """

    user_hash: str
    operator: bool
    hint: str


@dataclass(frozen=True)
class _Endpoints:
    authorization: str
    token: str
    says_issuer: bool
    """Whether its answers name it (RFC 9207)."""
    end_session: str | None
    """Where people sign out; None: it has no such place."""


class Oidc:
    """Its methods but `enabled` may block: they are run on a thread.

    Raises `SettingsError` where the settings leave anything open.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret.get_secret_value()
        self._issuer = settings.jwt_issuer
        self._clock = clock
        self._redirect_uri = settings.api_url.rstrip("/") + CALLBACK
        self._signed_out_uri = settings.api_url.rstrip("/") + SIGNED_OUT
        self._api_audience = settings.jwt_audience
        self._operator = _claim(settings.oidc_operator)
        self._lock = threading.Lock()
        self._endpoints: _Endpoints | None = None
        self._read_at = float("-inf")
        if self.enabled:
            _check(settings)
            # An ID token is for the client, not for the API.
            own = settings.model_copy(update={"jwt_audience": self._client_id})
            self._tokens = Tokens(own, clock)

    @property
    def enabled(self) -> bool:
        return bool(self._client_id)

    def address(self, attempt: Attempt) -> str:
        """Where the browser asks the provider. Raises `Refused` while it is away."""
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with(self._known().authorization, query)

    def code(self, attempt: Attempt, answer: dict[str, list[str]]) -> str:
        """The code of the provider's answer to this attempt. Raises `Refused`."""
        if any(len(values) != 1 for values in answer.values()):
            raise Refused("the answer says something twice")
        given = {name: values[0] for name, values in answer.items()}
        state = given.get("state", "")
        if not compare_digest(state.encode(), attempt.state.encode()):
            raise Refused("the answer is to another sign-in (state)")
        self._check_issuer(given.get("iss"))
        if "error" in given:
            raise Refused("the provider refused")
        code = given.get("code", "")
        if not code or len(code) > MAX_CODE_CHARS:
            raise Refused("the answer has no code")
        return code

    def id_token(self, attempt: Attempt, code: str) -> str:
        """Exchange a code, which is good once. Raises `Refused`."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        basic = None
        if self._secret:
            # RFC 6749, 2.3.1: both are form-encoded first.
            basic = (quote(self._client_id, safe=""), quote(self._secret, safe=""))
        else:
            form["client_id"] = self._client_id
        answer = _document(self._known().token, form, basic)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Refused("the provider gave no ID token")
        return token

    def farewell(self, hint: str) -> str | None:
        """Where the browser signs out at the provider; None where that has no such place.
        Raises `Refused` while it is away.
        """
        address = self._known().end_session
        if address is None:
            return None
        query = {
            "client_id": self._client_id,
            "post_logout_redirect_uri": self._signed_out_uri,
        }
        if hint != NO_HINT:
            query["id_token_hint"] = hint
        return _with(address, query)

    async def signed_in(self, attempt: Attempt, id_token: str) -> SignedIn:
        """Who an ID token is of, if it was made for this attempt.

        Raises `Refused`, and `TransientError` while the issuer's keys are away.
        """
        try:
            user_hash, claims = await self._tokens.verified(id_token)
        except InvalidToken as error:
            raise Refused(f"the ID token: {error}") from error
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not compare_digest(
            nonce.encode(), attempt.nonce.encode()
        ):
            raise Refused("the ID token is of another sign-in (nonce)")
        audiences = (
            claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        )
        party = claims.get("azp", None if len(audiences) > 1 else self._client_id)
        if party != self._client_id:
            raise Refused("the ID token was given to another client (azp)")
        # It comes to stand in an address: not one that is too long, nor one that opens
        # the API, alone or beside others.
        is_too_long = len(id_token) > MAX_HINT_CHARS
        is_kept_back = is_too_long or self._api_audience in audiences
        hint = NO_HINT if is_kept_back else id_token
        return SignedIn(user_hash, self._is_operator(claims), hint)

    def _is_operator(self, claims: dict[str, Any]) -> bool:
        """Whether the claim that is set holds the value that is set, alone or in a
        list: a longer word is another role.
        """
        if self._operator is None:
            return False
        name, wanted = self._operator
        held = claims.get(name)
        return wanted in held if isinstance(held, list) else held == wanted

    def _check_issuer(self, named: str | None) -> None:
        """Against an answer of another provider (mix-up)."""
        if named is None and not self._known().says_issuer:
            return
        if named != self._issuer:
            raise Refused("the answer is of another issuer (iss)")

    def _known(self) -> _Endpoints:
        with self._lock:
            now = self._clock.monotonic()
            if self._endpoints is None or now - self._read_at > FRESH_S:
                self._endpoints = self._discovered()
                self._read_at = now
            return self._endpoints

    def _discovered(self) -> _Endpoints:
        found = _document(self._issuer.rstrip("/") + DISCOVERY)
        if found.get("issuer") != self._issuer:
            raise Refused("the discovery document is of another issuer")
        urls = [found.get(f"{name}_endpoint") for name in ("authorization", "token")]
        for url in urls:
            if not isinstance(url, str) or not is_safe(url):
                raise Refused("the discovery document names an unsafe endpoint")
        says = found.get("authorization_response_iss_parameter_supported") is True
        end = found.get("end_session_endpoint")
        end_session = end if isinstance(end, str) and is_safe(end) else None
        return _Endpoints(str(urls[0]), str(urls[1]), says, end_session)


def _with(address: str, query: dict[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def _document(
    url: str,
    form: dict[str, str] | None = None,
    basic: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """A JSON object of the provider. Raises `Refused`."""
    try:
        found = json.loads(download(url, form, basic))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        kind = type(error).__name__
        raise Refused(
            f"the provider gave no answer that can be used: {kind}"
        ) from error
    if not isinstance(found, dict):
        raise Refused("the provider gave no JSON object")
    return found


def _claim(setting: str) -> tuple[str, str] | None:
    """Name and value of `roles=operator`. Raises `SettingsError`."""
    if not setting:
        return None
    name, _, value = setting.partition("=")
    if not name or not value:
        rule = "DARKROOM_OIDC_OPERATOR must be a claim and its value, as in roles=darkroom-operator"
        raise SettingsError(rule)
    return name, value


def _check(settings: Settings) -> None:
    """Raises `SettingsError`."""
    if not settings.jwt_jwks_url:
        rule = "DARKROOM_OIDC_CLIENT_ID needs DARKROOM_JWT_ISSUER, _AUDIENCE and _JWKS_URL of the same provider"
        raise SettingsError(rule)
    for name, url in (
        ("JWT_ISSUER", settings.jwt_issuer),
        ("API_URL", settings.api_url),
    ):
        parts = urlsplit(url)
        if not is_safe(url) or parts.query or parts.fragment:
            rule = f"DARKROOM_OIDC_CLIENT_ID needs DARKROOM_{name} to be https (http only on this machine)"
            raise SettingsError(rule)
