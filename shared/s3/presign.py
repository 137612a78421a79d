"""Requests that others may send to the object store in our name: signed here, by
computation alone, sent by them.

A signature fixes the key, the content type and every `x-amz-meta-` field: whoever sends
the request can change none of them. Uploads are signed by a key of their own, where
there is one, which may do nothing else, so that whatever a sender gets past the store's
check of signatures is refused for want of the right. URLs are those that clients reach:
`DARKROOM_S3_PUBLIC_URL`, where it differs from our own.

The SDK's signers sign, and not its `generate_presigned_…`: those sign for the time of
this machine, where a request has to begin at `now`, by the store's clock.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from shared.errors import StorageUnavailable
from shared.runtime.settings import StoreSettings
from shared.s3.client import given_credentials, s3_client, s3_session
from shared.s3.clock import StoreClock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

META = "x-amz-meta-"
SERVICE = "s3"
ALGORITHM = "AWS4-HMAC-SHA256"
EXPIRATION = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Upload:
    """What may be uploaded: exactly this object. `bytes` is its size, if it is known."""

    bucket: str
    key: str
    content_type: str
    metadata: Mapping[str, str]
    bytes: int | None = None

    def metadata_fields(self) -> dict[str, str]:
        return {f"{META}{name}": value for name, value in self.metadata.items()}


@dataclass(frozen=True)
class Multipart:
    """`parts`: (number from 1, size in bytes, URL to PUT it to). `sent`: the ETags of
    the parts that are there, by number.
    """

    upload_id: str
    parts: list[tuple[int, int, str]]
    complete: str
    abort: str
    sent: Mapping[int, str]


def for_tickets(settings: StoreSettings) -> StoreSettings:
    """The settings with the key by which uploads are signed; without such a key, the
    same settings.
    """
    if not settings.s3_ticket_access_key.get_secret_value():
        return settings
    key = {
        "s3_access_key": settings.s3_ticket_access_key,
        "s3_secret_key": settings.s3_ticket_secret_key,
    }
    return settings.model_copy(update=key)


class Presigner:
    """Thread-safe. Its methods raise `StorageUnavailable` where there are no
    credentials.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._of_tickets = for_tickets(settings)
        self._bucket_url = cache(self._find_bucket_url)

    def get(
        self,
        bucket: str,
        key: str,
        expires_s: int,
        now: datetime,
        disposition: str | None = None,
        version: str | None = None,
    ) -> str:
        """A URL with which anybody may GET this object; it need not exist.

        `disposition`: the `Content-Disposition` that the store answers with. `version`:
        the one that is meant; without it the latest.
        """
        signer = _UrlSigner(self._credentials, self._settings, expires_s, now)
        query = {}
        if disposition:
            query["response-content-disposition"] = disposition
        if version:
            query["versionId"] = version
        return signer.sign("GET", self._url(bucket, key), query=query)

    def address(self, bucket: str) -> str:
        """The bucket's own address, as clients see it."""
        return self._bucket_url(bucket)

    def form(
        self,
        upload: Upload,
        max_bytes: int,
        expires_s: int,
        now: datetime,
    ) -> tuple[str, dict[str, str]]:
        """URL and fields of a form; the store refuses a file of no or more than
        `max_bytes` bytes.
        """
        credentials = _frozen(self._ticket_credentials)
        signer = SigV4Auth(credentials, SERVICE, self._settings.s3_region)
        request = _request_at(now)
        fields = {
            "key": upload.key,
            "Content-Type": upload.content_type,
            "success_action_status": "201",
            **upload.metadata_fields(),
            "x-amz-algorithm": ALGORITHM,
            "x-amz-credential": signer.scope(request),
            "x-amz-date": request.context["timestamp"],
        }
        if credentials.token:
            fields["x-amz-security-token"] = credentials.token
        expires_at = now + timedelta(seconds=expires_s)
        policy = _policy(upload, fields, max_bytes, expires_at)
        fields["policy"] = policy
        fields["x-amz-signature"] = signer.signature(policy, request)
        return self._bucket_url(upload.bucket), fields

    def put(
        self,
        upload: Upload,
        expires_s: int,
        now: datetime,
    ) -> tuple[str, dict[str, str]]:
        """URL and headers of a PUT, which overwrites nothing. A size that is known is
        signed as well.
        """
        headers = {
            "Content-Type": upload.content_type,
            "If-None-Match": "*",
            **upload.metadata_fields(),
        }
        if upload.bytes is not None:
            headers["Content-Length"] = str(upload.bytes)
        signer = self._upload_signer(expires_s, now)
        url = self._url(upload.bucket, upload.key)
        return signer.sign("PUT", url, headers), headers

    def multipart(
        self,
        upload: Upload,
        part_bytes: int,
        expires_s: int,
        now: datetime,
        begun: str | None = None,
    ) -> Multipart:
        """Begin an upload in parts, of `upload.bytes` in all, or go on with the one that
        was `begun` by this id, if it is still there. Raises `StorageUnavailable`.
        """
        assert upload.bytes is not None
        sent = self._sent(upload, begun, part_bytes) if begun else None
        upload_id = begun if begun and sent is not None else self._begin(upload)
        signer = self._upload_signer(expires_s, now)
        url = self._url(upload.bucket, upload.key)
        query = {"uploadId": upload_id}
        parts = []
        for number, start in enumerate(range(0, upload.bytes, part_bytes), 1):
            size = min(part_bytes, upload.bytes - start)
            headers = {"Content-Length": str(size)}
            part = {"partNumber": str(number), **query}
            parts.append((number, size, signer.sign("PUT", url, headers, part)))
        return Multipart(
            upload_id,
            parts,
            complete=signer.sign("POST", url, query=query),
            abort=signer.sign("DELETE", url, query=query),
            sent=sent or {},
        )

    def _sent(
        self,
        upload: Upload,
        upload_id: str,
        part_bytes: int,
    ) -> dict[int, str] | None:
        """The ETags of the parts that are there; None: the upload ended, or its parts
        are of another size.
        """
        assert upload.bytes is not None
        sent = {}
        try:
            # Ten thousand parts at the most, a thousand in an answer.
            pages = self._own.get_paginator("list_parts").paginate(
                Bucket=upload.bucket, Key=upload.key, UploadId=upload_id
            )
            for page in pages:
                for part in page.get("Parts", []):
                    number = part["PartNumber"]
                    left = upload.bytes - (number - 1) * part_bytes
                    if part["Size"] != min(part_bytes, left):
                        return None
                    sent[number] = part["ETag"]
        except self._own.exceptions.NoSuchUpload:
            return None
        except (BotoCoreError, ClientError, OSError) as error:
            detail = f"{type(error).__name__} on bucket {upload.bucket!r}"
            raise StorageUnavailable(detail) from error
        return sent

    def _begin(self, upload: Upload) -> str:
        try:
            begun = self._uploading.create_multipart_upload(
                Bucket=upload.bucket,
                Key=upload.key,
                ContentType=upload.content_type,
                Metadata=dict(upload.metadata),
            )
        except (BotoCoreError, ClientError, OSError) as error:
            detail = f"{type(error).__name__} on bucket {upload.bucket!r}"
            raise StorageUnavailable(detail) from error
        return begun["UploadId"]

    def _upload_signer(
        self,
        expires_s: int,
        now: datetime,
    ) -> _UrlSigner:
        credentials = self._ticket_credentials
        return _UrlSigner(credentials, self._settings, expires_s, now)

    def _url(self, bucket: str, key: str) -> str:
        return f"{self._bucket_url(bucket)}/{quote(key, safe='/-_.~')}"

    def _find_bucket_url(self, bucket: str) -> str:
        """The bucket's address, with the bucket in its path or in its host name as the
        SDK decides.
        """
        params = {"Bucket": bucket}
        url = self._public.generate_presigned_url("head_bucket", params, 60)
        address, _, _ = url.partition("?")
        return address.rstrip("/")

    @cached_property
    def _credentials(self) -> Credentials | None:
        return given_credentials(self._settings) or s3_session().get_credentials()

    @cached_property
    def _ticket_credentials(self) -> Credentials | None:
        return given_credentials(self._of_tickets) or self._credentials

    @cached_property
    def _uploading(self) -> S3Client:
        return s3_client(s3_session(), self._of_tickets, StoreClock())

    @cached_property
    def _own(self) -> S3Client:
        return s3_client(s3_session(), self._settings, StoreClock())

    @cached_property
    def _public(self) -> S3Client:
        settings = self._settings
        if settings.s3_public_url:
            public = {"s3_endpoint_url": settings.s3_public_url}
            settings = settings.model_copy(update=public)
        return s3_client(s3_session(), settings, StoreClock())


class _UrlSigner(S3SigV4QueryAuth):
    """Signs URLs that are good from `now`, for `expires_s`."""

    def __init__(
        self,
        credentials: Credentials | None,
        settings: StoreSettings,
        expires_s: int,
        now: datetime,
    ) -> None:
        region = settings.s3_region
        super().__init__(_frozen(credentials), SERVICE, region, expires_s)
        self._now = now

    def sign(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        request = AWSRequest(method, url, dict(headers or {}), params=dict(query or {}))
        self.add_auth(request)
        return str(request.url)

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = _timestamp(self._now)
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # not in the stubs


def _policy(
    upload: Upload,
    fields: Mapping[str, str],
    max_bytes: int,
    expires_at: datetime,
) -> str:
    """The policy of a form, in Base64: every field exactly as it is."""
    conditions: list[Any] = [
        ["content-length-range", 1, max_bytes],
        {"bucket": upload.bucket},
    ]
    conditions += [{name: value} for name, value in fields.items()]
    expiration = expires_at.strftime(EXPIRATION)
    policy = {"expiration": expiration, "conditions": conditions}
    return b64encode(json.dumps(policy).encode()).decode()


def _request_at(now: datetime) -> AWSRequest:
    request = AWSRequest()
    request.context["timestamp"] = _timestamp(now)
    return request


def _timestamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime(SIGV4_TIMESTAMP)


def _frozen(credentials: Credentials | None) -> ReadOnlyCredentials:
    """The credentials of this moment: temporary ones are renewed now and then."""
    if credentials is None:
        raise StorageUnavailable(str(NoCredentialsError()))
    return credentials.get_frozen_credentials()
