"""The SDK's client, for rare requests (buckets, copies, uploads in parts), and its
credentials.
"""

from __future__ import annotations

from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.auth import AUTH_TYPE_MAPS
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ReadTimeoutError
from botocore.utils import parse_timestamp

from shared.runtime.settings import StoreSettings
from shared.s3.clock import StoreClock
from shared.s3.http import (
    CONNECT_S,
    CONNECTIONS,
    MAX_ATTEMPTS,
    NOW,
    READ_S,
    StoreTimeAuth,
    correct_clock,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STORE_TIME = "s3v4-store-time"
SENT = "darkroom.sent"
"""Key of a request's context: when it was sent (monotonic)."""

AUTH_TYPE_MAPS[STORE_TIME] = StoreTimeAuth


def s3_session() -> botocore.session.Session:
    """A session that parses times quickly: the SDK's own parser takes four fifths of
    the time of a listing.
    """
    session = botocore.session.get_session()
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=timestamp)
    return session


def timestamp(value: Any) -> datetime:
    """A time as S3 writes it: in ISO 8601 or as an HTTP date."""
    try:
        if value[4] == "-":
            return datetime.fromisoformat(value)
        return parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return parse_timestamp(value)


def s3_client(
    session: botocore.session.Session, settings: StoreSettings, clock: StoreClock
) -> S3Client:
    """A client whose requests are signed for the time of `clock`, and whose responses
    correct that. Presigned URLs do not use it.
    """
    client = boto3.Session(botocore_session=session).client(
        "s3",
        endpoint_url=settings.s3_endpoint_url or None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key.get_secret_value() or None,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
        config=Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            # Not all servers know Amazon's newer trailing checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # Newer regions refuse the SDK's default signature of presigned URLs.
            signature_version="s3v4",
            s3={"addressing_style": "path"} if settings.s3_endpoint_url else {},
        ),
    )
    _sign_for_store_time(client, clock)
    return client


def _sign_for_store_time(client: S3Client, clock: StoreClock) -> None:
    """Sign for the time of `clock`, not for this machine's, which the store may refuse."""

    def choose_signer(signature_version: str, **_: Any) -> str | None:
        return STORE_TIME if signature_version == "s3v4" else None

    def before_sign(request: Any, **_: Any) -> None:
        request.context |= {NOW: clock.now(), SENT: clock.monotonic()}

    def needs_retry(
        response: Any,
        request_dict: Any,
        attempts: int,
        caught_exception: Exception | None = None,
        **_: Any,
    ) -> float | None:
        """Seconds until the next attempt; None leaves the decision to the SDK."""
        if isinstance(caught_exception, ReadTimeoutError):
            raise caught_exception  # Silence is not tried again: see `S3Http`.
        if response is None:
            return None
        date = response[0].headers.get("Date")
        was_wrong = correct_clock(clock, date, request_dict["context"][SENT])
        was_refused = response[0].status_code >= 300
        if was_wrong and was_refused and attempts < MAX_ATTEMPTS:
            return 0.0
        return None

    events: Any = client.meta.events
    events.register("choose-signer.s3", choose_signer)
    events.register("before-sign.s3", before_sign)
    events.register_first("needs-retry.s3", needs_retry)


def given_credentials(settings: StoreSettings) -> Credentials | None:
    """The credentials that the settings name. None: the SDK's own chain has to find
    some.
    """
    key = settings.s3_access_key.get_secret_value()
    secret = settings.s3_secret_key.get_secret_value()
    if not key or not secret:
        return None
    return Credentials(key, secret)
