"""The only place where exceptions of the object store's clients become ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
)
from urllib3.exceptions import ConnectTimeoutError, HTTPError

from shared.errors import (
    Code,
    NotFound,
    ObjectUnreadable,
    ObjectUnwritable,
    PermanentError,
    StorageUnavailable,
)

ARCHIVED = "InvalidObjectState"
"""The code for an object that must be restored from an archive before it can be read."""
IMPOSSIBLE = ("KeyTooLongError", "InvalidURI")
"""Codes for keys that no object can have."""
ABSENT = (
    "NoSuchKey",
    "NotFound",
    "404",
    "NoSuchVersion",
    "MethodNotAllowed",
    "405",
)
"""Codes for an object, or a version, that is not there."""
NO_BUCKET = ("NoSuchBucket", "AuthorizationHeaderMalformed")
"""Codes for a bucket that is not there, or is in another region."""

ADVICE = "check its name, DARKROOM_S3_REGION and the access key"

Others = Callable[[], bool | None]
"""Returns whether the store returns other objects of the bucket now; None: it answers,
and has no other.
"""
Takes = Callable[[], bool]
"""Returns whether the store does for another key of the bucket what it refused to do
for this one.
"""


class AlreadyThere(Exception):
    """The store answered 412: an object exists that must not, or another than expected."""


@contextmanager
def translated(bucket: str, key: str) -> Iterator[None]:
    """Translate errors of the clients.

    Raises `NotFound`, `StorageUnavailable`, `PermanentError` and `AlreadyThere`, each
    with its cause. The key is the user's own text: it is named in errors about objects,
    never in log lines.
    """
    try:
        yield
    except ClientError as error:
        raise _of_refusal(error, bucket, key) from error
    except NoCredentialsError as error:
        raise StorageUnavailable(
            f"no access key for bucket {bucket!r}: "
            "set DARKROOM_S3_ACCESS_KEY and DARKROOM_S3_SECRET_KEY"
        ) from error
    except (ParamValidationError, UnicodeEncodeError) as error:
        detail = f"what no request can carry, for bucket {bucket!r}: {error}"
        raise PermanentError(Code.INTERNAL, detail) from error
    except (BotoCoreError, HTTPError, OSError) as error:
        name = type(error).__name__
        raise StorageUnavailable(f"{name} on bucket {bucket!r}") from error


def _of_refusal(error: ClientError, bucket: str, key: str) -> Exception:
    """Our error for a refusal by the store."""
    code = error.response["Error"]["Code"]
    status = _status(error)
    if code in ABSENT:
        return NotFound(Code.SOURCE_MISSING, f"no object {bucket}/{key}")
    if status == 412:
        return AlreadyThere(f"{bucket}/{key}")
    if status in (301, 307, 401, 403) or code in NO_BUCKET:
        return StorageUnavailable(f"{code} on bucket {bucket!r}: {ADVICE}")
    # A conflict says that another write or delete is under way there, not how that will
    # end.
    may_pass = status in (408, 429) or code == "ConditionalRequestConflict"
    if 400 <= status < 500 and not may_pass:
        detail = f"the store refused {bucket}/{key}: {code}"
        return PermanentError(Code.INTERNAL, detail)
    return StorageUnavailable(f"{code} on bucket {bucket!r}")


@contextmanager
def reading(bucket: str, key: str, others: Others) -> Iterator[None]:
    """Like `translated`, around what reads one object. Raises `ObjectUnreadable` where
    the object is at fault and not the store.

    A refusal blames the object and the access key in the same words, and that of a HEAD
    has no words; a server that cannot read a chunk answers like a broken one. Whether
    the store returns other objects decides which it is.
    """
    with translated(bucket, key):
        try:
            yield
        except (ClientError, HTTPError, HTTPClientError) as error:
            code = _code(error)
            is_archived = code == ARCHIVED
            if not is_archived and not _may_be_the_object(error):
                raise
            if is_archived or _is_the_object(error, others()):
                raise ObjectUnreadable(
                    f"the store answers for bucket {bucket!r}, "
                    f"and does not give this object of it: {code}"
                ) from error
            if _is_refusal(error):
                detail = f"{code} on bucket {bucket!r}: {ADVICE}"
                raise StorageUnavailable(detail) from error
            raise


@contextmanager
def writing(bucket: str, key: str, takes: Takes) -> Iterator[None]:
    """Like `translated`, around what writes or deletes one object. Raises
    `ObjectUnwritable` where the object is at fault and not the store.

    A store that is full or read-only refuses every key in the same words. Whether it
    accepts another key decides which it is.
    """
    with translated(bucket, key):
        try:
            yield
        except (ClientError, HTTPError) as error:
            if not _may_be_the_key(error) or not takes():
                raise
            raise ObjectUnwritable(
                f"the store does that for other keys of bucket {bucket!r}, "
                f"and not for this one: {_code(error)}"
            ) from error


def _may_be_the_key(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        # A connection that was never made says nothing of a key.
        return not isinstance(error, ConnectTimeoutError)
    status = _status(error)
    return status >= 500 or status in (401, 403, 408, 429)


def _may_be_the_object(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        # A connection that was never made says nothing of an object.
        return not isinstance(error, ConnectTimeoutError)
    status = _status(error)
    if status >= 500:
        return True
    return status in (400, 401, 403, 429) and _code(error) not in IMPOSSIBLE


def _is_the_object(error: Exception, others: bool | None) -> bool:
    """A server that fails with its only object may be broken altogether; one that
    refuses it, and lists it, is not.
    """
    return _is_refusal(error) if others is None else others


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, ClientError) and _status(error) < 500


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return type(error).__name__


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
