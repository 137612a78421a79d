"""How the API's refusals look in its description: each is a problem document (RFC 9457)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from shared.errors import Code
from shared.uploads.messages import Status

PROBLEM_EXAMPLE: JsonDict = {
    "type": "about:blank",
    "title": "Unprocessable Content",
    "status": 422,
    "code": "bad_parameter",
    "detail": "scale=9.0 is not a number from 1 to 4 (default 4.0)",
}


class ProblemDocument(BaseModel):
    """`detail`: what, which rule, the way out, for people; `code` for machines."""

    model_config = ConfigDict(json_schema_extra={"example": PROBLEM_EXAMPLE})

    type: str
    title: str
    status: int
    detail: str
    code: str


class Ended(BaseModel):
    """Why a photo has no result."""

    code: Code
    detail: str = Field(examples=["a GIF with 12 frames; send one frame"])


WORK_EXAMPLE: JsonDict = {
    "task_id": "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b",
    "status": "queued",
    "signature": "0123456789abcdef",
}


class Work(BaseModel):
    """A task, how it is by now, and the signature that its record has, or will have."""

    model_config = ConfigDict(json_schema_extra={"examples": [WORK_EXAMPLE]})

    task_id: UUID
    status: Status
    signature: str


WHY = {
    400: "The body cannot be read as JSON.",
    401: "No key, or one that is wrong, expired or revoked.",
    403: "The key lacks the scope.",
    404: "There is no such thing, or it is another user's.",
    408: "The body did not arrive in time.",
    409: "What is there stands against it.",
    413: "The body is too large.",
    422: "The request breaks a rule; the sentence names it.",
    429: "Too much at once; `Retry-After` says when to come again.",
    503: "A service is away for a moment; `Retry-After` says when to come again.",
}
ALWAYS = frozenset({401, 403, 422, 429, 503})
"""Statuses that every route may give."""


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may give `statuses`, beside `ALWAYS`."""
    # Written out, not as `model`: that would promise `application/json` as well.
    schema = ProblemDocument.model_json_schema()
    media = {"schema": schema}
    content = {"application/problem+json": media}
    responses: dict[int | str, dict[str, Any]] = {}
    for status in sorted(ALWAYS.union(statuses)):
        responses[status] = {
            "description": WHY[status],
            "content": content,
        }
    return responses
