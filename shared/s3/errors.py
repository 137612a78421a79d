"""Every exception of the object store's clients, translated in one place into ours."""

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
"""What must be fetched back first: nobody can read it, whatever else the store gives.
"""
IMPOSSIBLE = ("KeyTooLongError", "InvalidURI")
"""No object can have such a key."""

ADVICE = "check its name, DARKROOM_S3_REGION and the access key"

Others = Callable[[], bool | None]
"""Whether the store gives other objects of the bucket now; None: it answers, and has no
other.
"""
Takes = Callable[[], bool]
"""Whether the store does with another key of the bucket what it refused to do with this
one.
"""


class AlreadyThere(Exception):
    """The store answered 412: something is there that was not to be, or another than
    was meant.
    """


@contextmanager
def translated(bucket: str, key: str) -> Iterator[None]:
    """Raises `NotFound`, `StorageUnavailable`, `PermanentError` and `AlreadyThere`,
    each with its cause.
    """
    # The key is the user's own text: it is named in errors about objects, never in log
    # lines of ours.
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in (
            "NoSuchKey",
            "NotFound",
            "404",
            "NoSuchVersion",
            "MethodNotAllowed",
            "405",
        ):
            raise NotFound(Code.SOURCE_MISSING, f"no object {bucket}/{key}") from error
        if status == 412:
            raise AlreadyThere(f"{bucket}/{key}") from error
        if status in (301, 307, 401, 403) or code in (
            "NoSuchBucket",
            "AuthorizationHeaderMalformed",
        ):
            raise StorageUnavailable(
                f"{code} on bucket {bucket!r}: {ADVICE}"
            ) from error
        # A conflict says that something else is being written or deleted there, not how
        # that will end.
        if (
            400 <= status < 500
            and status not in (408, 429)
            and code != "ConditionalRequestConflict"
        ):
            raise PermanentError(
                Code.INTERNAL, f"the store refused {bucket}/{key}: {code}"
            ) from error
        raise StorageUnavailable(f"{code} on bucket {bucket!r}") from error
    except NoCredentialsError as error:
        detail = f"no access key for bucket {bucket!r}: set DARKROOM_S3_ACCESS_KEY and DARKROOM_S3_SECRET_KEY"
        raise StorageUnavailable(detail) from error
    except (ParamValidationError, UnicodeEncodeError) as error:  # no request can say it
        raise PermanentError(
            Code.INTERNAL, f"what no request can carry, for bucket {bucket!r}: {error}"
        ) from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StorageUnavailable(
            f"{type(error).__name__} on bucket {bucket!r}"
        ) from error


@contextmanager
def giving(bucket: str, key: str, others: Others) -> Iterator[None]:
    """As `translated`, for what reads one object: raises `ObjectUnreadable` where that
    is at fault, not the store.

    A refusal names the object or the access key with the same words, and a HEAD has no
    words at all; a server that cannot read a chunk answers like one that is broken.
    Whether other objects can be had tells them apart.
    """
    with translated(bucket, key):
        try:
            yield
        except (ClientError, HTTPError, HTTPClientError) as error:
            said = _said(error)
            if said != ARCHIVED and not _may_be_the_object(error):
                raise
            if said == ARCHIVED or _is_the_object(error, others()):
                detail = f"the store answers for bucket {bucket!r}, and does not give this object of it: {said}"
                raise ObjectUnreadable(detail) from error
            if _is_refusal(error):
                raise StorageUnavailable(
                    f"{said} on bucket {bucket!r}: {ADVICE}"
                ) from error
            raise


@contextmanager
def taking(bucket: str, key: str, takes: Takes) -> Iterator[None]:
    """As `translated`, for what writes or deletes one object: raises `ObjectUnwritable`
    where that is at fault.

    A store that is full, or closed, says the same of every key. Whether it takes
    another one tells them apart.
    """
    with translated(bucket, key):
        try:
            yield
        except (ClientError, HTTPError) as error:
            if not _may_be_the_key(error) or not takes():
                raise
            detail = f"the store does that for other keys of bucket {bucket!r}, and not for this one: {_said(error)}"
            raise ObjectUnwritable(detail) from error


def _may_be_the_key(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        # nobody was asked for anything
        return not isinstance(error, ConnectTimeoutError)
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status >= 500 or status in (401, 403, 408, 429)


def _said(error: Exception) -> str:
    return (
        str(error.response["Error"]["Code"])
        if isinstance(error, ClientError)
        else type(error).__name__
    )


def _may_be_the_object(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        # nobody was asked for anything
        return not isinstance(error, ConnectTimeoutError)
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= 500:
        return True
    return status in (400, 401, 403, 429) and _said(error) not in IMPOSSIBLE


def _is_the_object(error: Exception, others: bool | None) -> bool:
    """A server that fails with its only object may be broken altogether; one that
    refuses it, and lists it, is not.
    """
    return _is_refusal(error) if others is None else others


def _is_refusal(error: Exception) -> bool:
    return (
        isinstance(error, ClientError)
        and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    )
