"""Errors in ComfyUI's own shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from handlers.http import problems
from handlers.http.problems import Problem
from shared.errors import Code, DarkroomError
from shared.runtime.telemetry import logger

MAX_DETAIL_CHARS = 500


@dataclass
class NodeFault:
    """What is wrong with a node; `kind` is ComfyUI's type of it."""

    kind: str
    message: str
    details: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "message": self.message[:MAX_DETAIL_CHARS],
            "details": self.details[:MAX_DETAIL_CHARS],
            "extra_info": dict(self.extra),
        }


class Refusal(Exception):
    """A request that is refused as ComfyUI refuses it. `kind` is its type of error;
    `details` says the way out.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        details: str = "",
        *,
        status: int = 400,
        node_errors: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = NodeFault(kind, message, details)
        self.status = status
        self.node_errors = dict(node_errors or {})
        self.headers = dict(headers or {})


def response(refusal: Refusal) -> Response:
    body = {"error": refusal.fault.shown(), "node_errors": refusal.node_errors}
    return JSONResponse(body, refusal.status, refusal.headers)


def of_problem(problem: Problem) -> Refusal:
    """A refusal of the API, in ComfyUI's shape."""
    return Refusal(
        problem.code,
        problem.detail,
        status=problem.status,
        headers=problem.headers,
    )


def of_error(error: DarkroomError) -> Refusal:
    return of_problem(problems.of_error(error))


def not_found(detail: str) -> Refusal:
    return Refusal("not_found", detail, status=404)


async def on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return response(error)


async def on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(of_problem(error))


async def on_darkroom_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DarkroomError)
    return response(of_error(error))


async def on_bug(request: Request, error: Exception) -> Response:
    logger().error(
        "request.failed", method=request.method, route="/comfyui", exc_info=error
    )
    detail = "this is a fault of ours; it has been logged"
    return response(Refusal(Code.INTERNAL, detail, status=500))
