"""Every error Darkroom raises on purpose. The class says what happens next, the code
says what went wrong.

`PermanentError`: trying again cannot help. The photo ends as `rejected` (by the
handler) or `failed` (by the worker) with the code and the sentence. `TransientError`:
the same call may succeed later; the worker retries it under `shared.runtime.retry`. Anything
else that escapes is a bug and is treated as transient until the attempts run out.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """`error_code` in receipts, reasons, records and the audit log."""

    # decided by the handler, from the event, the header and the metadata alone
    EMPTY_FILE = "empty_file"
    TOO_LARGE = "too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    ANIMATED = "animated"
    PAGE_OUT_OF_RANGE = "page_out_of_range"
    UNKNOWN_WORKFLOW = "unknown_workflow"
    BAD_PARAMETER = "bad_parameter"
    BAD_METADATA = "bad_metadata"
    WORKFLOW_UNAVAILABLE = "workflow_unavailable"
    # decided by the worker, from the pixels
    DECODE_ERROR = "decode_error"
    UNSUPPORTED_MODE = "unsupported_mode"
    INVALID_OUTPUT = "invalid_output"
    OUT_OF_MEMORY = "out_of_memory"
    SOURCE_MISSING = "source_missing"
    SOURCE_CHANGED = "source_changed"
    # or by the handler, which could not look at it either
    SOURCE_UNREADABLE = "source_unreadable"
    MODEL_MISSING = "model_missing"
    MODEL_CORRUPT = "model_corrupt"
    WORKER_CRASHED = "worker_crashed"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    # decided by the user
    CANCELLED = "cancelled"
    ERASED = "erased"
    # or not decided in time
    EXPIRED = "expired"
    # about one file of an album or archive; nothing of it was sent
    CHECKSUM_MISMATCH = "checksum_mismatch"
    MISSING_IN_SOURCE = "missing_in_source"
    UNLISTED_IN_MANIFEST = "unlisted_in_manifest"
    UNSAFE_PATH = "unsafe_path"
    ENCRYPTED = "encrypted"
    ARCHIVE_BOMB = "archive_bomb"
    BAD_MANIFEST_ROW = "bad_manifest_row"
    # about a whole bag; nothing of it was sent
    PROFILE_VIOLATION = "profile_violation"
    # about one file that was handed out
    BAD_CREDENTIALS = "bad_credentials"
    # about a message or a document, not a photo
    BAD_MESSAGE = "bad_message"
    BAD_DOCUMENT = "bad_document"
    # about the surroundings
    STORAGE_UNAVAILABLE = "storage_unavailable"
    BROKER_UNAVAILABLE = "broker_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"
    DISK_FULL = "disk_full"
    SETTINGS = "settings"
    INTERNAL = "internal"


class DarkroomError(Exception):
    """An error with a `code` for machines and a sentence for people, which names the
    rule and a way out.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class PermanentError(DarkroomError):
    """An error that is never retried: the same input fails in the same way."""


class TransientError(DarkroomError):
    """An error after which the same call may succeed later, within the retry policy."""


class OtherRelease(TransientError):
    """The task needs a worker of another release. No attempt was made, so none counts."""


class NotFound(PermanentError):
    """The object, model or document does not exist."""


class Missing(NotFound):
    """A model or a package that the work needs is not on this machine; `command` says
    how it is brought there.
    """

    def __init__(self, because: str, command: str) -> None:
        super().__init__(Code.MODEL_MISSING, f"{because}; {command}")
        self.because = because
        self.command = command


class SettingsError(PermanentError):
    """A setting is missing or out of its range; raised at start, before any work is
    taken.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(Code.SETTINGS, detail)


class MessageError(PermanentError):
    """The bytes of a message are not a message of ours; it becomes a dead letter with
    this reason.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(Code.BAD_MESSAGE, detail)


class StorageUnavailable(TransientError):
    """The object store refused, timed out or could not be reached."""

    def __init__(self, detail: str) -> None:
        super().__init__(Code.STORAGE_UNAVAILABLE, detail)


class ObjectRefused(StorageUnavailable):
    """The store refuses this one object, and does the same for others.

    Code that treats all faults of the store alike may catch it as one of them. No other
    work has to wait behind it, and it costs a photo an attempt.
    """


class ObjectUnwritable(ObjectRefused):
    """The store writes or deletes other objects, but not this one."""


class ObjectUnreadable(ObjectRefused):
    """The store returns other objects, but not this one: it is refused by a policy,
    archived or damaged.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.code = Code.SOURCE_UNREADABLE


class BrokerUnavailable(TransientError):
    """The broker could not be reached or did not confirm in time."""

    def __init__(self, detail: str) -> None:
        super().__init__(Code.BROKER_UNAVAILABLE, detail)


class DatabaseUnavailable(TransientError):
    """The audit log's database could not be reached or did not answer in time. No photo
    waits for it.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(Code.DATABASE_UNAVAILABLE, detail)
