"""Errors over HTTP: `application/problem+json` (RFC 9457), for every error and from one
place.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path

from shared.errors import (
    Code,
    DarkroomError,
    MessageError,
    NotFound,
    PermanentError,
    TransientError,
)
from shared.runtime.telemetry import logger

RETRY_AFTER_S = 5
MAX_DETAIL_CHARS = 500
SERVICES = {
    Code.STORAGE_UNAVAILABLE: "the object store",
    Code.SOURCE_UNREADABLE: "an object in the store",
    Code.BROKER_UNAVAILABLE: "the broker",
    Code.DATABASE_UNAVAILABLE: "the log database",
}
"""Their errors name machines, accounts and buckets."""


class Problem(Exception):
    """A refusal with its HTTP status. `detail`: what, which rule, the way out; `code`:
    for machines.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        code: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.code, self.headers = (
            status,
            detail,
            code,
            dict(headers or {}),
        )


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(DarkroomError, _darkroom)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)


def response(problem: Problem) -> Response:
    """The document: `type`, `title`, `status`, `detail` and our `code`."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail[:MAX_DETAIL_CHARS],
        "code": problem.code,
    }
    return JSONResponse(
        body, problem.status, problem.headers, "application/problem+json"
    )


def of_error(error: DarkroomError) -> Problem:
    """The status says whether the same request may succeed later; what a service said
    of itself goes into our log.
    """
    if isinstance(error, TransientError):
        if service := SERVICES.get(error.code):
            logger().warning("request.postponed", code=error.code, detail=error.detail)
        detail = (
            f"{service} is away for a moment; try again" if service else error.detail
        )
        return Problem(503, detail, error.code, {"Retry-After": str(RETRY_AFTER_S)})
    if isinstance(error, NotFound):
        return Problem(404, error.detail, error.code)
    if isinstance(error, MessageError):
        return Problem(400, error.detail, error.code)
    if error.code == Code.WORKFLOW_UNAVAILABLE:
        return Problem(409, error.detail, error.code)
    return Problem(
        422 if isinstance(error, PermanentError) else 500, error.detail, error.code
    )


def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error)


def _darkroom(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DarkroomError)
    return response(of_error(error))


def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    detail = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return response(Problem(422, detail, "bad_request"))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (
        methods := _methods(request)
    ):
        headers["Allow"] = ", ".join(methods)
    return response(Problem(error.status_code, str(error.detail), "http", headers))


def _methods(request: Request) -> list[str]:
    """All that the address takes, by the API's description: the routes themselves know
    only their own.
    """
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    found = (
        methods
        for path, methods in paths.items()
        if compile_path(path)[0].match(request.url.path)
    )
    return sorted({method.upper() for methods in found for method in methods})


def _bug(request: Request, error: Exception) -> Response:
    # The route's pattern, not the address asked for: that may hold anything.
    route = getattr(request.scope.get("route"), "path", "?")
    logger().error("request.failed", method=request.method, route=route, exc_info=error)
    return response(
        Problem(500, "this is a fault of ours; it has been logged", Code.INTERNAL)
    )
