"""Is it this object, or the store? Asked when one object could not be read: are others given?"""

from __future__ import annotations

import random

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from shared.s3_http import S3Http

SILENCE_S = 5.0
"""A store that takes longer now to give one byte is no witness against an object."""
SAMPLE = 4
"""Others that are asked for: one that is given is enough, and a few may be as bad as the first."""
SOUND = (404, 416)
"""A store that says that an object is gone, or empty, has looked."""


class Probe:
    """Asks once, and waits for nothing. Needs the right to list the bucket. Thread-safe."""

    def __init__(self, http: S3Http) -> None:
        self._http = http

    def others(self, bucket: str, key: str) -> bool | None:
        """Whether the store gives other objects of `bucket` now; None: it answers, and has no other."""
        try:
            known = [other for other in self._http.some_keys(bucket) if other != key]
        except (ClientError, BotoCoreError, HTTPError):
            return False
        if not known:
            return None
        return any(self._gives(bucket, other) for other in random.sample(known, min(SAMPLE, len(known))))

    def _gives(self, bucket: str, key: str) -> bool:
        """Whether its first byte comes: what only heads of objects need is not what fails."""
        try:
            answer = self._http.request("GET", bucket, key, headers={"Range": "bytes=0-0"})
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
