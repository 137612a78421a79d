"""Settings of the object store."""

from __future__ import annotations

from pydantic import Field, SecretStr

from shared.runtime.settings.base import SettingsGroup


class RegionSettings(SettingsGroup):
    """The region that S3 and SQS requests are signed for."""

    s3_region: str = Field("us-east-1", description="Region of the object store.")


class StoreSettings(RegionSettings):
    """The object store: its address, its keys and the names of the buckets."""

    s3_endpoint_url: str = Field("", description="Object store; empty means Amazon S3.")
    s3_public_url: str = Field(
        "",
        description="Object store as clients reach it, in signed URLs; empty: the same.",
    )
    s3_access_key: SecretStr = Field(
        SecretStr(""), description="Access key; empty means the SDK's own chain."
    )
    s3_secret_key: SecretStr = Field(
        SecretStr(""), description="Secret key of the object store."
    )
    s3_ticket_access_key: SecretStr = Field(
        SecretStr(""),
        description="Access key by which tickets are signed; empty: the process's own.",
    )
    s3_ticket_secret_key: SecretStr = Field(
        SecretStr(""), description="Its secret key."
    )
    s3_client_access_key: SecretStr = Field(
        SecretStr(""),
        description="Access key that `darkroom env` prints; empty: the process's own.",
    )
    s3_client_secret_key: SecretStr = Field(
        SecretStr(""), description="Its secret key, printed beside it."
    )
    bucket_uploads: str = Field(
        "uploads", description="Bucket of the originals. Darkroom never writes to them."
    )
    bucket_results: str = Field(
        "results", description="Bucket of results, records, previews and receipts."
    )
    bucket_quarantine: str = Field(
        "quarantine", description="Bucket of what was refused, each with its reason."
    )
    bucket_archive: str = Field("archive", description="Bucket of what was retired.")
    bucket_access: str = Field(
        "access",
        description="Bucket of API keys and tickets, which only handlers may read.",
    )
