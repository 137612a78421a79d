"""Settings of authentication."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Seconds, SettingsGroup


class AccessSettings(SettingsGroup):
    """Who may use the API: keys, tokens and pseudonyms."""

    api_key: SecretStr = Field(
        SecretStr(""),
        description="Operator's API key: it sees everybody's photos, without limits.",
    )
    pepper: SecretStr = Field(
        SecretStr(""),
        description="Secret of the user pseudonyms. Losing it orphans users.",
    )
    api_key_cache_s: Seconds = Field(
        30.0, description="A revoked key may still be accepted for this long."
    )
    allow_anonymous: bool = Field(
        False, description="Let people without a key upload and read as `anonymous`."
    )
    jwt_issuer: str = Field("", description="`iss` of the tokens that are accepted.")
    jwt_audience: str = Field("", description="`aud` of the tokens that are accepted.")
    jwt_jwks_url: str = Field(
        "", description="Where the issuer publishes its keys, for RS256 and ES256."
    )
    jwt_secret: SecretStr = Field(
        SecretStr(""), description="Secret shared with the issuer, for HS256."
    )
    oidc_client_id: str = Field(
        "",
        description="The console's client id at DARKROOM_JWT_ISSUER, by which people sign in; empty: by links alone.",
    )
    oidc_client_secret: SecretStr = Field(
        SecretStr(""), description="Its secret; empty: a public client."
    )
    oidc_operator: str = Field(
        "",
        description="Claim and value of an ID token that make an operator, as roles=darkroom-operator; empty: nobody.",
    )
    jwt_algorithms: str = Field(
        "", description="By commas; empty: RS256,ES256 with keys, HS256 with a secret."
    )
