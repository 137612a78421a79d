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
"""Services whose own errors name machines, accounts and buckets: a response names the
service alone.
"""


class Problem(Exception):
    """A refusal with its HTTP status. `detail` says what, which rule, and the way out;
    `code` is for machines.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        code: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.headers = dict(headers or {})


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
    media_type = "application/problem+json"
    return JSONResponse(body, problem.status, problem.headers, media_type)


def of_error(error: DarkroomError) -> Problem:
    """The problem of an error. Its status says whether the same request may succeed
    later.
    """
    if isinstance(error, TransientError):
        return _of_transient(error)
    return Problem(_status_of(error), error.detail, error.code)


def _of_transient(error: TransientError) -> Problem:
    detail = error.detail
    service = SERVICES.get(error.code)
    if service:
        logger().warning("request.postponed", code=error.code, detail=detail)
        detail = f"{service} is away for a moment; try again"
    return Problem(503, detail, error.code, {"Retry-After": str(RETRY_AFTER_S)})


def _status_of(error: DarkroomError) -> int:
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, MessageError):
        return 400
    if error.code == Code.WORKFLOW_UNAVAILABLE:
        return 409
    return 422 if isinstance(error, PermanentError) else 500


def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(error)


def _darkroom(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DarkroomError)
    return response(of_error(error))


def _validation(
    _request: Request,
    error: Exception,
) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return response(Problem(422, f"{place}: {first['msg']}", "bad_request"))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = _methods(request)
        if methods:
            headers["Allow"] = ", ".join(methods)
    return response(Problem(error.status_code, str(error.detail), "http", headers))


def _methods(request: Request) -> list[str]:
    """All methods of the requested path, by the API's description. (A route that did not
    match knows its own methods only.)
    """
    description = request.app.openapi()
    requested = request.url.path
    methods: set[str] = set()
    for path, operations in description["paths"].items():
        pattern, _, _ = compile_path(path)
        if pattern.match(requested):
            methods.update(operations)
    return sorted(method.upper() for method in methods)


def _bug(request: Request, error: Exception) -> Response:
    # The pattern of the route: the requested path itself may hold anything.
    route = getattr(request.scope.get("route"), "path", "?")
    logger().error(
        "request.failed",
        method=request.method,
        route=route,
        exc_info=error,
    )
    detail = "this is a fault of ours; it has been logged"
    return response(Problem(500, detail, Code.INTERNAL))
