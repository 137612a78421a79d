"""Requests that others may send to the object store in our name: signed here, by
computation alone, sent by them.

Everything that a signature fixes cannot be changed by who sends it: the key, the
content type, every `x-amz-meta-` field. Uploads are signed by a key of their own, where
there is one, which may do nothing else: what a sender smuggles past the store's check
of signatures is then refused for want of the right. Addresses are those that clients
reach: `DARKROOM_S3_PUBLIC_URL`, where it differs from our own. `now` is when a request
begins to be good, by the store's own clock: the SDK, which takes this machine's, is not
asked to sign.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from shared.errors import StorageUnavailable
from shared.runtime.settings import StoreSettings
from shared.s3.client import given_credentials, s3_client, s3_session
from shared.s3.clock import StoreClock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

META = "x-amz-meta-"
ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Upload:
    """What may be uploaded: exactly this object. `bytes`: its size, where the sender
    told it.
    """

    bucket: str
    key: str
    content_type: str
    metadata: Mapping[str, str]
    bytes: int | None = None


@dataclass(frozen=True)
class Multipart:
    """`parts`: (number from 1, size in bytes, URL to PUT it to)."""

    upload_id: str
    parts: list[tuple[int, int, str]]
    complete: str
    abort: str


def for_tickets(settings: StoreSettings) -> StoreSettings:
    """The same with the key by which uploads are signed; without one the process's own
    stays.
    """
    if not settings.s3_ticket_access_key.get_secret_value():
        return settings
    key = {
        "s3_access_key": settings.s3_ticket_access_key,
        "s3_secret_key": settings.s3_ticket_secret_key,
    }
    return settings.model_copy(update=key)


class Presigner:
    """Thread-safe. The SDK is asked when it is first needed."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._of_tickets = for_tickets(settings)
        self._bucket_url = cache(self._find_bucket_url)

    def get(self, bucket: str, key: str, expires_s: int, now: datetime) -> str:
        """A URL with which anybody may GET this object; it need not exist."""
        who = _Signer.of(self._credentials, self._settings.s3_region, now)
        return self._url(who, "GET", bucket, key, {}, {}, expires_s)

    def form(
        self, upload: Upload, max_bytes: int, expires_s: int, now: datetime
    ) -> tuple[str, dict[str, str]]:
        """URL and fields of a form; the store refuses a file of no or more than
        `max_bytes` bytes.
        """
        who = self._of_uploads(now)
        fields = {
            "key": upload.key,
            "Content-Type": upload.content_type,
            "success_action_status": "201",
        }
        fields |= {f"{META}{name}": value for name, value in upload.metadata.items()}
        fields |= {
            "x-amz-algorithm": ALGORITHM,
            "x-amz-credential": who.credential,
            "x-amz-date": who.moment,
        }
        if who.token:
            fields["x-amz-security-token"] = who.token
        policy = {
            "expiration": (now + timedelta(seconds=expires_s)).strftime(
                "%Y-%m-%dT%H:%M:%SZ"
            ),
            "conditions": [
                ["content-length-range", 1, max_bytes],
                {"bucket": upload.bucket},
                *({name: value} for name, value in fields.items()),
            ],
        }
        encoded = b64encode(json.dumps(policy).encode()).decode()
        return self._bucket_url(upload.bucket), fields | {
            "policy": encoded,
            "x-amz-signature": who.sign(encoded),
        }

    def put(
        self, upload: Upload, expires_s: int, now: datetime
    ) -> tuple[str, dict[str, str]]:
        """URL and headers of a PUT, which puts nothing over what is there. A size that
        was told is signed, too.
        """
        headers = {"Content-Type": upload.content_type, "If-None-Match": "*"}
        headers |= {f"{META}{name}": value for name, value in upload.metadata.items()}
        if upload.bytes is not None:
            headers["Content-Length"] = str(upload.bytes)
        return self._url(
            self._of_uploads(now),
            "PUT",
            upload.bucket,
            upload.key,
            headers,
            {},
            expires_s,
        ), headers

    def multipart(
        self, upload: Upload, part_bytes: int, expires_s: int, now: datetime
    ) -> Multipart:
        """Begin an upload in parts, of `upload.bytes` in all. Raises
        `StorageUnavailable`.
        """
        assert upload.bytes is not None
        try:
            begun = self._uploading.create_multipart_upload(
                Bucket=upload.bucket,
                Key=upload.key,
                ContentType=upload.content_type,
                Metadata=dict(upload.metadata),
            )
        except (BotoCoreError, ClientError, OSError) as error:
            raise StorageUnavailable(
                f"{type(error).__name__} on bucket {upload.bucket!r}"
            ) from error
        who, place, parts = self._of_uploads(now), {"uploadId": begun["UploadId"]}, []
        for number, start in enumerate(range(0, upload.bytes, part_bytes), 1):
            size = min(part_bytes, upload.bytes - start)
            headers, query = (
                {"Content-Length": str(size)},
                {"partNumber": str(number)} | place,
            )
            parts.append(
                (
                    number,
                    size,
                    self._url(
                        who, "PUT", upload.bucket, upload.key, headers, query, expires_s
                    ),
                )
            )
        complete, abort = (
            self._url(who, method, upload.bucket, upload.key, {}, place, expires_s)
            for method in ("POST", "DELETE")
        )
        return Multipart(begun["UploadId"], parts, complete, abort)

    def _url(
        self,
        who: _Signer,
        method: str,
        bucket: str,
        key: str,
        headers: Mapping[str, str],
        query: Mapping[str, str],
        expires_s: int,
    ) -> str:
        """`query` is in order of its names, which begin with small letters."""
        url = f"{self._bucket_url(bucket)}/{quote(key, safe='/-_.~')}"
        _, host, path, *_ = urlsplit(url)
        signed = sorted(
            (
                {name.lower(): value for name, value in headers.items()}
                | {"host": host}
            ).items()
        )
        names = ";".join(name for name, _ in signed)
        asked = {
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": who.credential,
            "X-Amz-Date": who.moment,
            "X-Amz-Expires": str(expires_s),
            "X-Amz-Security-Token": who.token,
            "X-Amz-SignedHeaders": names,
            **query,
        }
        line = "&".join(
            f"{name}={quote(value, safe='-_.~')}"
            for name, value in asked.items()
            if value
        )
        lines = "".join(f"{name}:{' '.join(value.split())}\n" for name, value in signed)
        request = "\n".join((method, path, line, lines, names, "UNSIGNED-PAYLOAD"))
        digest = hashlib.sha256(request.encode()).hexdigest()
        signature = who.sign("\n".join((ALGORITHM, who.moment, who.scope, digest)))
        return f"{url}?{line}&X-Amz-Signature={signature}"

    def _find_bucket_url(self, bucket: str) -> str:
        return (
            self._public.generate_presigned_url("head_bucket", {"Bucket": bucket}, 60)
            .partition("?")[0]
            .rstrip("/")
        )

    @cached_property
    def _credentials(self) -> Any:
        return given_credentials(self._settings) or s3_session().get_credentials()

    def _of_uploads(self, now: datetime) -> _Signer:
        return _Signer.of(self._ticket_credentials, self._settings.s3_region, now)

    @cached_property
    def _ticket_credentials(self) -> Any:
        return given_credentials(self._of_tickets) or self._credentials

    @cached_property
    def _uploading(self) -> S3Client:
        return s3_client(s3_session(), self._of_tickets, StoreClock())

    @cached_property
    def _public(self) -> S3Client:
        public = self._settings.s3_public_url
        if not public:
            return self._own
        return s3_client(
            s3_session(),
            self._settings.model_copy(update={"s3_endpoint_url": public}),
            StoreClock(),
        )

    @cached_property
    def _own(self) -> S3Client:
        return s3_client(s3_session(), self._settings, StoreClock())


@dataclass(frozen=True)
class _Signer:
    """Signature version 4, at one moment."""

    credential: str
    scope: str
    moment: str
    token: str
    key: bytes

    @classmethod
    def of(cls, credentials: Any, region: str, now: datetime) -> _Signer:
        if credentials is None:
            raise StorageUnavailable(str(NoCredentialsError()))
        # temporary ones are renewed now and then
        frozen = credentials.get_frozen_credentials()
        moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{region}/s3/aws4_request"
        key = _signing_key(frozen.secret_key, scope)
        return cls(
            f"{frozen.access_key}/{scope}", scope, moment, frozen.token or "", key
        )

    def sign(self, text: str) -> str:
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()


@lru_cache(maxsize=8)
def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
