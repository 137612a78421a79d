"""Every setting, in one place: environment variables with the prefix `DARKROOM_`, read
once at the start.

A stack started by `darkroom up` leaves its addresses and secrets in
`{state_dir}/stack.env`; commands run beside it find them there. A variable in the
environment always wins over that file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import SettingsError

PREFIX = "DARKROOM_"
STACK_FILE = "stack.env"
OF_TESTS = (f"{PREFIX}TEST_", f"{PREFIX}CHAOS_")
"""How the names of those variables begin that are no settings."""

Seconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "s"})]
Bytes = Annotated[int, Field(gt=0, json_schema_extra={"unit": "bytes"})]
Pixels = Annotated[int, Field(gt=0, json_schema_extra={"unit": "px"})]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """Frozen values; secrets are hidden in `repr` and in logs."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    state_dir: Path = Field(
        Path(".darkroom"),
        description="Where the embedded stack keeps data, secrets and logs.",
    )

    s3_endpoint_url: str = Field("", description="Object store; empty means Amazon S3.")
    s3_public_url: str = Field(
        "",
        description="Object store as clients reach it, in signed URLs; empty: the same.",
    )
    s3_region: str = Field("us-east-1", description="Region of the object store.")
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

    broker_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="kombu URL of the broker."
    )
    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL URL of the log database."
    )
    publish_timeout_s: Seconds = Field(
        5.0, description="Longest wait for the broker to confirm a message."
    )
    lease_s: Seconds = Field(
        30.0, description="A worker silent for this long has lost its photo to another."
    )

    api_host: str = Field(
        "127.0.0.1", description="Address that the HTTP door listens on."
    )
    api_port: int = Field(
        8080, ge=0, le=65535, description="Port that the HTTP door listens on."
    )
    api_url: str = Field("", description="Where clients reach the HTTP door.")
    api_key: SecretStr = Field(
        SecretStr(""),
        description="Operator's API key: it sees everybody's photos, without limits.",
    )
    webhook_token: SecretStr = Field(
        SecretStr(""), description="Bearer token of storage notifications."
    )
    pepper: SecretStr = Field(
        SecretStr(""),
        description="Secret of the user pseudonyms. Losing it orphans users.",
    )
    api_key_cache_s: Seconds = Field(
        30.0, description="A revoked key may still open the door for so long."
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
    jwt_algorithms: str = Field(
        "", description="By commas; empty: RS256,ES256 with keys, HS256 with a secret."
    )
    limit_requests_per_min: Count = Field(6000, description="Requests of one user.")
    limit_address_requests_per_min: Count = Field(
        12000, description="Requests from one address."
    )
    limit_failures_per_min: Count = Field(
        300, description="Wrong keys and tokens from one address."
    )
    limit_bytes_per_min: Bytes = Field(
        20_000_000_000, description="Bytes announced by one user; untold: the most."
    )
    limit_queued_photos: Count = Field(
        10_000, description="Photos of one user that wait."
    )
    limit_previews: Count = Field(
        8, description="Previews of one user that are under way."
    )
    limit_preview_pixels_per_min: Pixels = Field(
        200_000_000, description="Pixels out of the previews that one user asks for."
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

    default_workflow: str = Field(
        "enhance", description="Workflow of an upload that names none."
    )
    unavailable: Literal["reject", "wait"] = Field(
        "reject",
        description="What becomes of an upload for a workflow that no worker can run.",
    )
    max_upload_bytes: Bytes = Field(50_000_000, description="Largest upload accepted.")
    upload_expires_s: Seconds = Field(
        900.0, ge=1, le=604800, description="How long a signed upload is good."
    )
    multipart_bytes: Bytes = Field(
        16 << 20,
        ge=5 << 20,
        description="Larger uploads are offered parts of this size.",
    )
    multipart_max_age_s: float = Field(
        604_800.0,
        ge=0,
        description="The sweep ends uploads in parts begun longer ago, their tickets' time at least; 0: never.",
        json_schema_extra={"unit": "s"},
    )
    preview_expires_s: float = Field(
        86_400.0,
        ge=0,
        description="The sweep deletes previews asked for longer ago; 0: never.",
        json_schema_extra={"unit": "s"},
    )
    max_pixels: Pixels = Field(
        120_000_000, description="Most pixels in, by the header's width x height."
    )
    max_frames: Count = Field(
        100,
        description="Most pictures or pages in one file; only the first is restored.",
    )
    max_output_pixels: Pixels = Field(
        2_000_000_000, description="Most pixels out, width x height x scale²."
    )
    max_pixels_in_hand: Pixels = Field(
        400_000_000,
        description="Most pixels out of the photos in hand of one worker; a bigger photo is alone.",
    )

    engine: Literal["auto", "ncnn", "torch", "realesrgan"] = Field(
        "auto", description="Inference engine."
    )
    cpu_kernels: Literal["auto", "ncnn"] = Field(
        "auto", description="auto: our own where compiled, else ncnn's."
    )
    tile_px: int = Field(
        0,
        ge=0,
        description="Tile side before overlap; 0 lets the worker choose by memory.",
        json_schema_extra={"unit": "px"},
    )
    worker_threads: int = Field(
        0, ge=0, description="Inference threads; 0 means every core."
    )
    inference_memory_bytes: Bytes = Field(
        2_000_000_000, description="Most host memory for the tiles in work."
    )
    cpu_fallback: bool = Field(
        True, description="Restore on the CPU what does not fit into the GPU's memory."
    )
    scratch_dir: Path = Field(
        Path(tempfile.gettempdir()),
        description="Where big pictures are mapped while in work.",
    )
    scratch_threshold_bytes: Bytes = Field(
        500_000_000, description="Pictures above this live in a scratch file."
    )
    decode_memory_bytes: Bytes = Field(
        6_000_000_000, description="Most memory for decoding a photo, by its size less."
    )
    decode_seconds: Seconds = Field(
        120.0, description="Most time for decoding a photo, by its size less."
    )
    models_mirror: str = Field(
        "",
        description="URL that holds the model files by name; empty means their own URLs.",
    )
    models_dir: Path = Field(
        Path("~/.cache/darkroom/models"), description="Where pulled models lie."
    )
    max_attempts: Count = Field(
        5, description="Tries of one photo before it is set aside as failed."
    )
    max_crashes: Count = Field(
        3, description="Workers one photo may kill before it is set aside."
    )
    retry_base_s: Seconds = Field(
        2.0, description="Wait before the second try; doubles with each further one."
    )
    retry_cap_s: Seconds = Field(300.0, description="Longest wait between two tries.")
    drain_s: Seconds = Field(
        30.0, description="Grace after SIGTERM in which the photo in hand is finished."
    )
    stall_s: Seconds = Field(
        600.0,
        description="A worker with a stage that hangs for this long is stuck and restarts.",
    )
    png_level: int = Field(
        1, ge=0, le=3, description="Effort of the PNG encoder (0 fastest, 3 smallest)."
    )
    keep_gps: bool = Field(
        False, description="Keep the position in a photo's EXIF data."
    )
    max_metadata_bytes: Bytes = Field(
        4 << 20, description="Largest EXIF block or colour profile that is kept."
    )
    label_text: str = Field(
        "AI-enhanced / AI 修复", description="Visible label drawn into a corner."
    )
    label_result: bool = Field(
        False, description="Draw the visible label into the result itself."
    )
    label_preview: bool = Field(
        True, description="Draw the visible label into the preview."
    )
    label_producer: str = Field(
        "Darkroom", description="Who answers for results, in the TC260:AIGC field."
    )

    log_batch: Count = Field(
        500, description="Most log rows written in one transaction."
    )
    log_flush_s: Seconds = Field(
        0.5, description="Longest time a log row waits for its batch."
    )
    sweep_interval_s: Seconds = Field(
        30.0,
        description="Pause between two looks at new uploads; the least between two sweeps.",
    )

    webhook_secret: SecretStr = Field(
        SecretStr(""), description="Signs callbacks (`whsec_…`); several, by blanks."
    )
    callback_http: bool = Field(False, description="Let callbacks go to http://, too.")
    callback_ports: str = Field(
        "443 8443",
        pattern=r"^\d{1,5}([ ,]+\d{1,5})*$",
        description="Ports that callbacks may go to; 80 with http.",
    )
    callback_allow: str = Field(
        "",
        description="Hosts and CIDRs that callbacks may reach though they are not public.",
    )
    callback_timeout_s: Seconds = Field(
        15.0, description="Longest wait for the answer to a callback."
    )
    callback_retry_s: str = Field(
        "5 300 1800 7200 18000 36000 50400 72000 86400",
        pattern=r"^\d+(\.\d+)?([ ,]+\d+(\.\d+)?)*$",
        description="Waits between the tries of a callback, each ± 20 %.",
        json_schema_extra={"unit": "s"},
    )

    ready_file: Path | None = Field(
        None, description="A process that is ready touches this file while it works."
    )
    beat_timeout_s: Seconds = Field(
        60.0,
        ge=1,
        description="A process that has not touched its file for this long is stuck and restarts.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address of every process's /healthz, /readyz, /metrics.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of these three, of each process its own; 0: any, unset: none.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe line logged."
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="auto: pretty on a terminal."
    )
    failpoint: str = Field(
        "",
        description="For tests: `name:n` kills the process the n-th time it passes `name`; `name:n:hang` holds it.",
    )

    @classmethod
    def load(cls, **overrides: Any) -> Settings:
        """Settings from the environment, then from the running stack's file, then the
        defaults.

        Raises `SettingsError` naming the variable, its value's fault and the rule.
        """
        state_dir = Path(
            overrides.get("state_dir")
            or os.environ.get(f"{PREFIX}STATE_DIR")
            or ".darkroom"
        )
        return cls._read(state_dir / STACK_FILE, overrides)

    @classmethod
    def given(cls, **overrides: Any) -> Settings:
        """What the environment says, without a running stack's file; `model_fields_set`
        has its names.
        """
        return cls._read(None, overrides)

    @classmethod
    def _read(cls, file: Path | None, overrides: dict[str, Any]) -> Settings:
        try:
            return cls(_env_file=file, **overrides)  # type: ignore[call-arg]
        except ValidationError as error:
            faults = [
                f"{PREFIX}{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}"
                for e in error.errors()
            ]
            raise SettingsError(
                "; ".join(faults) + ". `darkroom config` lists every setting."
            ) from error

    def variables(self, exclude: Collection[str] = ()) -> dict[str, str]:
        """Everything that is not left at its default, as `DARKROOM_*` variables:
        secrets in clear, paths absolute.
        """
        return {
            f"{PREFIX}{name.upper()}": _plain(getattr(self, name))
            for name in sorted(self.model_fields_set - set(exclude))
        }

    def masked(self) -> dict[str, str]:
        """Every setting as text, secrets masked; an address keeps all but its password."""
        return {name: _mask(getattr(self, name)) for name in type(self).model_fields}


def unknown_variables() -> dict[str, str]:
    """Those of the environment that look like settings and are none, each with the
    setting that it resembles, or "".
    """
    found = {}
    for variable in sorted(os.environ):
        name = variable.lower().removeprefix(PREFIX.lower())
        ours = len(name) < len(variable) and not variable.upper().startswith(OF_TESTS)
        if ours and name not in Settings.model_fields:
            nearest = get_close_matches(name, Settings.model_fields, 1)
            found[variable] = f"{PREFIX}{nearest[0].upper()}" if nearest else ""
    return found


def wants_no_colour() -> bool:
    """Whether the environment says `NO_COLOR`, as https://no-color.org has it."""
    return bool(os.environ.get("NO_COLOR"))


def _plain(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value.expanduser().absolute() if isinstance(value, Path) else value)


def _mask(value: Any) -> str:
    if not isinstance(value, SecretStr):
        return str(value)
    secret = value.get_secret_value()
    parts = urlsplit(secret)
    if not parts.scheme or not parts.netloc:
        return "********" if secret else ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        parts._replace(netloc=f"***@{host}" if "@" in parts.netloc else host)
    )
