"""What travels through the broker: frozen, versioned JSON under 2 KiB, references only,
never pixels.

`decode` and `encode` stand beside the fields. Any bytes that are not a message of ours
raise one `MessageError`. Storage notifications (`darkroom.uploads`) are other people's
JSON and are read by `handlers.intake.notifications`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.broker.topology import Priority
from shared.errors import MessageError
from shared.uploads.keys import Picture

MAX_MESSAGE_BYTES = 2048

Status = Literal["queued", "processing", "success", "failed", "rejected", "duplicate"]


class Message(BaseModel):
    """Base of all messages. A newer minor writer may add fields: unknown ones are
    ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
    VERSION: ClassVar[int] = 1

    v: int

    def encode(self) -> bytes:
        """UTF-8 JSON without nulls. Raises `MessageError` over 2 KiB: a message refers,
        it does not carry.
        """
        body = self.model_dump_json(exclude_none=True).encode()
        if len(body) > MAX_MESSAGE_BYTES:
            raise MessageError(
                f"{type(self).__name__} has {len(body)} bytes, the limit is {MAX_MESSAGE_BYTES}"
            )
        return body

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Raises `MessageError` for anything that is not this message in a version this
        code knows.
        """
        if len(body) > MAX_MESSAGE_BYTES:
            raise MessageError(f"{len(body)} bytes, the limit is {MAX_MESSAGE_BYTES}")
        try:
            message = cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "body"
            raise MessageError(
                f"not a {cls.__name__}: {where}: {first['msg']}"
            ) from error
        if message.v != cls.VERSION:
            raise MessageError(
                f"{cls.__name__} version {message.v}; this code reads version {cls.VERSION}"
            )
        return message


class RestoreTask(Message):
    """`darkroom.restore.*`: restore the photo that this receipt describes. The receipt
    has everything else.
    """

    v: int = 1
    task_id: str
    upload_id: str
    priority: Priority
    queued_at: datetime


class PyramidTask(Message):
    """`darkroom.restore.preview`: make the pyramid of one of a task's pictures. The
    receipt of `upload_id`, which is of that task, has everything else.
    """

    v: int = 1
    task_id: str
    upload_id: str
    pyramid_of: Picture


class CallbackDue(Message):
    """`darkroom.callbacks`: this upload has ended, and its receipt names a URL that is
    to be called.
    """

    v: int = 1
    upload_id: str


class LogEvent(Message):
    """`darkroom.log`: one fact about one upload. `fields` are columns of
    `darkroom.restoration_log`.

    `event_id` is derived by the emitter, so a fact that arrives twice is one fact.
    """

    v: int = 1
    event_id: str
    upload_id: str
    upload_time: datetime
    task_id: str | None = None
    kind: Status
    at: datetime
    fields: dict[str, Any] = {}
