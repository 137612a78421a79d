"""Every exception of the object store's clients, translated in one place into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError
from urllib3.exceptions import HTTPError

from shared.errors import Code, NotFound, PermanentError, StorageUnavailable


class AlreadyThere(Exception):
    """The store answered 412 to `If-None-Match: *`."""


@contextmanager
def translated(bucket: str, key: str) -> Iterator[None]:
    """Raises `NotFound`, `StorageUnavailable`, `PermanentError` and `AlreadyThere`, each with its cause."""
    # The key is the user's own text: it is named in errors about objects, never in log lines of ours.
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in ("NoSuchKey", "NotFound", "404", "NoSuchVersion", "MethodNotAllowed", "405"):
            raise NotFound(Code.SOURCE_MISSING, f"no object {bucket}/{key}") from error
        if status == 412:
            raise AlreadyThere(f"{bucket}/{key}") from error
        if status in (301, 307, 401, 403) or code in ("NoSuchBucket", "AuthorizationHeaderMalformed"):
            detail = f"{code} on bucket {bucket!r}: check its name, DARKROOM_S3_REGION and the access key"
            raise StorageUnavailable(detail) from error
        # A conflict says that something else is being written or deleted there, not how that will end.
        if 400 <= status < 500 and status not in (408, 429) and code != "ConditionalRequestConflict":
            raise PermanentError(Code.INTERNAL, f"the store refused {bucket}/{key}: {code}") from error
        raise StorageUnavailable(f"{code} on bucket {bucket!r}") from error
    except NoCredentialsError as error:
        detail = f"no access key for bucket {bucket!r}: set DARKROOM_S3_ACCESS_KEY and DARKROOM_S3_SECRET_KEY"
        raise StorageUnavailable(detail) from error
    except (ParamValidationError, UnicodeEncodeError) as error:  # no request can say it
        raise PermanentError(Code.INTERNAL, f"what no request can carry, for bucket {bucket!r}: {error}") from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StorageUnavailable(f"{type(error).__name__} on bucket {bucket!r}") from error
