"""Tells a fault of one object from a fault of the store: after one object was refused,
another one is tried.
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
"""A store that takes longer to return one byte says nothing about an object."""
SAMPLE = 4
"""Other objects that are tried: one that is returned is enough, and a few may be as bad
as the first.
"""
FOUND = (404, 412, 416)
"""Statuses of a store that looked and found the object gone, there, or empty."""
LEAST_BYTES, MOST_BYTES = 4 << 10, 8 << 20
"""Bounds of what is written. Some stores accept less than a few KiB although they are
full.
"""


class Probe:
    """Sends each request once, and waits for nothing. Thread-safe.

    Needs the right to list a bucket of which something is read.
    """

    def __init__(self, http: S3Http) -> None:
        self._http = http

    def others(self, bucket: str, key: str) -> bool | None:
        """Whether the store returns other objects of `bucket` now; None: it answers,
        and has no other.
        """
        try:
            page = next(objects(self._http, bucket))
        except (ClientError, BotoCoreError, HTTPError, StorageUnavailable):
            return False
        known = [info.key for info in page if info.key != key]
        if not known:
            return None
        sample = random.sample(known, min(SAMPLE, len(known)))
        return any(self._returns(bucket, other) for other in sample)

    def takes(
        self,
        method: str,
        bucket: str,
        place: str,
        size: int,
        headers: Mapping[str, str],
    ) -> bool:
        """Whether the store writes at `place` as much as it refused elsewhere, or
        deletes there. Nothing is left.

        As much, since a store that is nearly full still has room for a little.
        """
        if method != "PUT":
            return self._does(method, bucket, place, headers, b"")
        body = os.urandom(min(max(size, LEAST_BYTES), MOST_BYTES))
        if not self._does("PUT", bucket, place, headers, body):
            return False
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
            return _was_looked_for(error)
        except (BotoCoreError, HTTPError):
            return False
        return True

    def _returns(self, bucket: str, key: str) -> bool:
        """Whether the object's first byte comes: a store may know the heads of objects
        whose bodies it cannot read.
        """
        first = {"Range": "bytes=0-0"}
        try:
            response = self._http.request("GET", bucket, key, headers=first)
        except ClientError as error:
            return _was_looked_for(error)
        except (BotoCoreError, HTTPError):
            return False
        try:
            return bool(response.read(1))
        except HTTPError:
            return False
        finally:
            response.close()


def _was_looked_for(error: ClientError) -> bool:
    return error.response["ResponseMetadata"]["HTTPStatusCode"] in FOUND
