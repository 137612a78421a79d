"""Settings of the HTTP server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from shared.runtime.settings.base import Bytes, SettingsGroup


class HttpSettings(SettingsGroup):
    """The HTTP server: where it listens and whose requests it trusts."""

    api_host: str = Field(
        "127.0.0.1", description="Address that the HTTP server listens on."
    )
    api_port: int = Field(
        8080, ge=0, le=65535, description="Port that the HTTP server listens on."
    )
    api_url: str = Field("", description="Where clients reach the HTTP server.")
    webhook_token: SecretStr = Field(
        SecretStr(""), description="Bearer token of storage notifications."
    )
    max_request_bytes: Bytes = Field(
        64 << 10, description="Largest body of a request to /v1."
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses whose X-Forwarded-For and -Proto are believed, by commas.",
    )
    cors_origins: str = Field(
        "", description="Web pages that may use the API, by commas."
    )
    comfyui: Literal["off", "header", "query", "none"] = Field(
        "off",
        description="ComfyUI's addresses, under /comfyui: off, or with the key in the header, the query, or none.",
    )
