"""Settings of content credentials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.runtime.settings.base import SettingsGroup


def _named(key: str) -> str:
    """A key's name. The key itself would stand in errors and in `darkroom config`."""
    if "PRIVATE KEY" in key:
        raise ValueError("it holds a key; write that into a file, and name the file")
    return key


class CredentialSettings(SettingsGroup):
    """Who signs results, and whether the worker does."""

    c2pa_sign: Literal["off", "sidecar"] = Field(
        "off",
        description="`sidecar`: the worker signs each result, beside it; `darkroom export --c2pa` signs by itself.",
    )

    c2pa_certs: Path | None = Field(
        None,
        description="PEM file: the signer's certificate, then those above it, without the root.",
    )
    c2pa_key: Annotated[str, AfterValidator(_named)] = Field(
        "",
        description="PEM file of the certificate's private key, or `kms:KEY` in AWS KMS.",
    )
    c2pa_tsa_url: str = Field(
        "",
        pattern=r"^(|https?://.+)$",
        description="Authority for RFC 3161 time stamps; empty: a signature ends with its certificate.",
    )
