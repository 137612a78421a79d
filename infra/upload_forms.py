"""Tries on the object store what the holder of a ticket might try: which forms of
signed uploads are safe there.

Signed as tickets are, by the same key: what a store lets through but the key may not do
is harmless, and safe. Where all is well nothing is made; what a store should not have
made is removed again.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx

from shared import upload_forms
from shared.errors import DarkroomError, NotFound, SettingsError
from shared.runtime.settings import StoreSettings
from shared.runtime.telemetry import logger
from shared.s3.presign import Multipart, Presigner, Upload
from shared.s3.store import S3Store
from shared.upload_forms import ALL, Form, UploadForms
from shared.uploads import keys

KEY = keys.upload("0" * 64, "check")
"""Of nobody's upload."""
HIDDEN = ".darkroom/not-for-tickets"
PART_BYTES = 5
GOOD_S = 60
ANSWER_S = 30.0
JSON = "application/json"


def check(store: S3Store, settings: StoreSettings) -> UploadForms:
    """Find out, write it down for the API, and say it. Raises `SettingsError` where
    tickets cannot work at all.
    """
    tries = _Tries(store, settings)
    unsafe: set[Form] = set()
    with tries.secret(), tries.parts() as parts:
        unsafe |= (
            {"put"}
            if tries.put_copies() or tries.put_adds() or tries.put_publishes()
            else set()
        )
        unsafe |= {"multipart"} if tries.part_copies(parts) else set()
        unsafe |= {"put", "multipart"} if tries.is_cut() else set()
    found = UploadForms(safe=tuple(form for form in ALL if form not in unsafe))
    if found != upload_forms.read(store, settings) or not _is_written(store, settings):
        store.put(settings.bucket_access, upload_forms.PLACE, found.to_bytes(), JSON)
    logger().info("uploads.checked", safe=list(found.safe))
    return found


def _is_written(store: S3Store, settings: StoreSettings) -> bool:
    with suppress(NotFound):
        store.head(settings.bucket_access, upload_forms.PLACE)
        return True
    return False


@dataclass
class _Tries:
    """Each says whether the store let it happen."""

    store: S3Store
    settings: StoreSettings

    def __post_init__(self) -> None:
        # Asked where this process reaches the store: clients may reach it elsewhere.
        self._presigner = Presigner(
            self.settings.model_copy(update={"s3_public_url": ""})
        )
        self._secret = secrets.token_bytes(4096)

    @contextmanager
    def secret(self) -> Iterator[None]:
        """Something among the results, which no ticket may read."""
        self.store.put(
            self.settings.bucket_results,
            HIDDEN,
            self._secret,
            "application/octet-stream",
        )
        try:
            yield
        finally:
            self.store.delete(self.settings.bucket_results, HIDDEN)

    @contextmanager
    def parts(self) -> Iterator[Multipart]:
        """An upload in parts, of which the first is sent: this must be possible. It is
        ended without an object.
        """
        upload = self._upload()
        try:
            parts = self._presigner.multipart(upload, PART_BYTES, GOOD_S, self._now())
        except DarkroomError as error:
            raise SettingsError(
                f"{_key()} cannot begin an upload under users/: {error.detail}"
            ) from error
        try:
            sent = httpx.put(
                parts.parts[0][2], content=bytes(PART_BYTES), timeout=ANSWER_S
            )
            if not sent.is_success:
                raise SettingsError(
                    f"{_key()} cannot put under users/: the store answers HTTP {sent.status_code}"
                )
            yield parts
        finally:
            ended = httpx.delete(parts.abort, timeout=ANSWER_S)
            if not ended.is_success:
                logger().warning("uploads.not_ended", status=ended.status_code)

    def put_copies(self) -> bool:
        """An unsigned header makes the PUT a copy of what its sender may not read."""
        with self._put(
            {"x-amz-copy-source": f"/{self.settings.bucket_results}/{HIDDEN}"}
        ) as key:
            return (
                key is not None
                and self.store.read(self.settings.bucket_uploads, key) == self._secret
            )

    def put_adds(self) -> bool:
        """An unsigned header adds to what the object says of itself."""
        with self._put({"x-amz-meta-added": "yes"}) as key:
            return (
                key is not None
                and "added"
                in self.store.head(self.settings.bucket_uploads, key).metadata
            )

    def put_publishes(self) -> bool:
        """Whether an unsigned header makes the object public."""
        with self._put({"x-amz-acl": "public-read"}) as key:
            if key is None:
                return False
            url = self._presigner.get(
                self.settings.bucket_uploads, key, GOOD_S, self._now()
            ).partition("?")[0]
            return httpx.get(url, timeout=ANSWER_S).is_success

    def part_copies(self, parts: Multipart) -> bool:
        """The same as `put_copies`, with a part."""
        number, size, url = parts.parts[1]
        copied = {"x-amz-copy-source": f"/{self.settings.bucket_results}/{HIDDEN}"}
        if not httpx.put(
            url, headers=copied, content=bytes(size), timeout=ANSWER_S
        ).is_success:
            return False
        listed = self.store.client.list_parts(
            Bucket=self.settings.bucket_uploads, Key=KEY, UploadId=parts.upload_id
        )
        return any(
            part["PartNumber"] == number and part["Size"] != size
            for part in listed.get("Parts", [])
        )

    def is_cut(self) -> bool:
        """A signature counts for a path of which one half is sent in a header: so the
        rest of it is a bucket's name.
        """
        bucket = f"darkroom-check-{uuid4().hex[:12]}"
        upload = self._upload(KEY.rpartition("/")[0] + f"/{bucket}")
        url, headers = self._presigner.put(upload, GOOD_S, self._now())
        parts = urlsplit(url)
        before, _, _ = parts.path.rpartition("/")
        httpx.put(
            urlunsplit(parts._replace(path=f"/{bucket}")),
            headers={**headers, "X-Forwarded-Prefix": before},
            content=bytes(PART_BYTES * 2),
            timeout=ANSWER_S,
        )
        with suppress(self.store.client.exceptions.ClientError):
            self.store.client.head_bucket(Bucket=bucket)
            self.store.client.delete_bucket(Bucket=bucket)
            return True
        return False

    @contextmanager
    def _put(self, added: dict[str, str]) -> Iterator[str | None]:
        """A PUT with what is not signed; the key where it was taken, and the object is
        removed afterwards.
        """
        upload = self._upload()
        url, headers = self._presigner.put(upload, GOOD_S, self._now())
        if not httpx.put(
            url,
            headers={**headers, **added},
            content=bytes(PART_BYTES * 2),
            timeout=ANSWER_S,
        ).is_success:
            yield None
            return
        try:
            yield upload.key
        finally:
            self.store.delete(upload.bucket, upload.key)

    def _upload(self, key: str = KEY) -> Upload:
        return Upload(
            self.settings.bucket_uploads,
            key,
            "application/octet-stream",
            {},
            PART_BYTES * 2,
        )

    def _now(self) -> datetime:
        return self.store.clock.now()


def _key() -> str:
    return "the key by which tickets are signed (DARKROOM_S3_TICKET_ACCESS_KEY, else DARKROOM_S3_ACCESS_KEY)"
