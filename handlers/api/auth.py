"""Who may ask: the operator's key sees everything."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from handlers.api.caller import SCOPES, Caller
from handlers.problems import Problem
from shared import identity
from shared.settings import Settings

_bearer = HTTPBearer(auto_error=False, description="The operator's key, DARKROOM_API_KEY.")


def authorise(settings: Settings) -> Callable[..., Caller]:
    """A dependency that lets the right key pass. Without a key set, the API is closed."""
    expected = settings.api_key.get_secret_value().encode()
    pseudonym = identity.user_hash("operator", settings.pepper.get_secret_value().encode())
    operator = Caller(pseudonym, operator=True, scopes=SCOPES, key_id="operator")

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Caller:
        token = given.credentials.encode() if given else b""
        if not expected or not compare_digest(token, expected):
            detail = "the API needs `Authorization: Bearer …` with the key that `darkroom env` prints"
            raise Problem(401, detail, "unauthorized", {"WWW-Authenticate": "Bearer"})
        return operator

    return check
