"""Is it this object, or the store? Asked when one object was refused: are others given,
is another one taken?
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from shared.errors import StorageUnavailable
from shared.s3.http import S3Http
from shared.s3.listing import objects

SILENCE_S = 5.0
"""A store that takes longer now to give one byte is no witness against an object."""
SAMPLE = 4
"""Others that are asked for: one that is given is enough, and a few may be as bad as
the first.
"""
SOUND = (404, 412, 416)
"""A store that says that an object is gone, there, or empty, has looked."""
LEAST_BYTES, MOST_BYTES = 4 << 10, 8 << 20
"""Of what is written. Less than a few KiB some stores put where there is room although
they are full.
"""


class Probe:
    """Asks once, and waits for nothing. Needs the right to list a bucket of which
    something is read. Thread-safe.
    """

    def __init__(self, http: S3Http) -> None:
        self._http = http

    def others(self, bucket: str, key: str) -> bool | None:
        """Whether the store gives other objects of `bucket` now; None: it answers, and
        has no other.
        """
        try:
            page = next(objects(self._http, bucket))
        except (ClientError, BotoCoreError, HTTPError, StorageUnavailable):
            return False
        known = [info.key for info in page if info.key != key]
        if not known:
            return None
        return any(
            self._gives(bucket, other)
            for other in random.sample(known, min(SAMPLE, len(known)))
        )

    def takes(
        self,
        method: str,
        bucket: str,
        place: str,
        size: int,
        headers: Mapping[str, str],
    ) -> bool:
        """Whether the store writes at `place` as much as was refused elsewhere, or
        deletes it. It leaves nothing there.

        As much, since a store that is nearly full still has room for a little.
        """
        body = (
            os.urandom(min(max(size, LEAST_BYTES), MOST_BYTES))
            if method == "PUT"
            else b""
        )
        if not self._does(method, bucket, place, headers, body):
            return False
        if method == "PUT":
            self._does("DELETE", bucket, place, {}, b"")
        return True

    def _does(
        self,
        method: str,
        bucket: str,
        place: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> bool:
        try:
            self._http.request(method, bucket, place, headers=headers, body=body)
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] in SOUND
        except (BotoCoreError, HTTPError):
            return False
        return True

    def _gives(self, bucket: str, key: str) -> bool:
        """Whether its first byte comes: what only heads of objects need is not what
        fails.
        """
        try:
            answer = self._http.request(
                "GET", bucket, key, headers={"Range": "bytes=0-0"}
            )
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] in SOUND
        except (BotoCoreError, HTTPError):
            return False
        try:
            return bool(answer.read(1))
        except HTTPError:
            return False
        finally:
            answer.close()
