"""ComfyUI's addresses under `/comfyui`, each also under `/comfyui/api`."""

from __future__ import annotations

import platform
from typing import Any

import anyio
from anyio.to_thread import run_sync
from fastapi import FastAPI
from pydantic_core import from_json
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ExceptionHandler
from starlette.websockets import WebSocket

from handlers.comfyui import errors, files, history, images, names, nodes, prompts
from handlers.comfyui.desk import desk_of
from handlers.comfyui.door import Door
from handlers.comfyui.errors import Refusal
from handlers.comfyui.form import sent
from handlers.comfyui.live import Connections
from handlers.http.api.services import Services
from handlers.http.api.signed_requests import allowed_to
from handlers.http.auth.guard import Guard
from handlers.http.problems import Problem
from handlers.http.request_body import read_body
from shared import __version__
from shared.errors import DarkroomError

PREFIX = "/comfyui"
MAX_BODY_BYTES = 1 << 20
"""Of a prompt, with the editor's picture of it."""
UPLOADS_AT_ONCE = 8
MOST_IDS = 1000
TRUE = ("true", "1")


def install(app: FastAPI, api: Services, guard: Guard) -> None:
    """Add the door to `app`, where the setting opens it. Raises `SettingsError`."""
    if api.ctx.settings.comfyui == "off":
        return
    handlers: dict[Any, ExceptionHandler] = {
        Refusal: errors.on_refusal,
        Problem: errors.on_problem,
        DarkroomError: errors.on_darkroom_error,
        HTTPException: _http,
        ClientDisconnect: _left,
        Exception: errors.on_bug,
    }
    found = routes()
    inner = Starlette(
        routes=[*found, Mount("/api", routes=found)], exception_handlers=handlers
    )
    inner.router.redirect_slashes = False
    inner.state.connections = Connections()
    inner.state.uploads = anyio.CapacityLimiter(UPLOADS_AT_ONCE)
    app.mount(PREFIX, Door(inner, api, guard))


def routes() -> list[BaseRoute]:
    return [
        Route("/upload/image", upload_image, methods=["POST"]),
        Route("/prompt", post_prompt, methods=["POST"]),
        Route("/prompt", get_prompt, methods=["GET"]),
        Route("/queue", get_queue, methods=["GET"]),
        Route("/queue", post_queue, methods=["POST"]),
        Route("/history", get_history, methods=["GET"]),
        Route("/history", post_history, methods=["POST"]),
        Route("/history/{prompt_id}", get_history_of, methods=["GET"]),
        Route("/interrupt", post_interrupt, methods=["POST"]),
        Route("/view", get_view, methods=["GET"]),
        Route("/object_info", get_object_info, methods=["GET"]),
        Route("/object_info/{node_class}", get_object_info_of, methods=["GET"]),
        Route("/system_stats", get_system_stats, methods=["GET"]),
        WebSocketRoute("/ws", websocket),
    ]


async def upload_image(request: Request) -> Response:
    desk = desk_of(request, "upload")
    most = allowed_to(desk.principal, desk.ctx.settings).max_upload_bytes
    async with request.app.state.uploads, sent(request, most) as form:
        name = names.checked(form.name, "image")
        subfolder = names.folder(form.fields.get("subfolder", ""))
        kind = form.fields.get("type", "input")
        if kind != "input":
            detail = "type: only photos of type input can be uploaded"
            raise Refusal("invalid_type", "Invalid type", detail)
        overwrite = form.fields.get("overwrite", "").lower() in TRUE
        given = await run_sync(
            images.store,
            desk,
            form.file,
            form.size,
            form.sha256,
            name,
            subfolder,
            overwrite,
        )
    return JSONResponse({"name": given, "subfolder": subfolder, "type": kind})


async def post_prompt(request: Request) -> Response:
    desk = desk_of(request, "upload")
    body = await _json(request)
    return JSONResponse(await run_sync(prompts.take, desk, body))


def get_prompt(request: Request) -> Response:
    return JSONResponse(history.exec_info(desk_of(request, "read")))


def get_queue(request: Request) -> Response:
    return JSONResponse(history.queue(desk_of(request, "read")))


async def post_queue(request: Request) -> Response:
    desk = desk_of(request, "delete")
    body = _object(await _json(request))
    if body.get("clear"):
        await run_sync(prompts.withdraw, desk, None)
    elif "delete" in body:
        await run_sync(prompts.withdraw, desk, _ids(body["delete"]))
    return Response(status_code=200)


def get_history(request: Request) -> Response:
    desk = desk_of(request, "read")
    most = _count(request, "max_items", history.MOST_SHOWN)
    offset = _count(request, "offset", 0)
    return JSONResponse(history.latest(desk, most, offset))


def get_history_of(request: Request) -> Response:
    desk = desk_of(request, "read")
    prompt_id = request.path_params["prompt_id"]
    if not prompts.is_id(prompt_id):
        return JSONResponse({})
    return JSONResponse(history.one(desk, prompt_id))


async def post_history(request: Request) -> Response:
    desk = desk_of(request, "delete")
    body = _object(await _json(request))
    if body.get("clear"):
        await run_sync(history.forget, desk, None)
    elif "delete" in body:
        await run_sync(history.forget, desk, _ids(body["delete"]))
    return Response(status_code=200)


async def post_interrupt(request: Request) -> Response:
    desk = desk_of(request, "delete")
    body = _object(await _json(request))
    prompt_id = body.get("prompt_id")
    if prompt_id is not None:
        prompt_id = _ids([prompt_id])[0]
    await run_sync(prompts.interrupt, desk, prompt_id)
    return Response(status_code=200)


def get_view(request: Request) -> Response:
    return files.view(desk_of(request, "read"), request.query_params)


def get_object_info(request: Request) -> Response:
    desk_of(request, "read")
    known = nodes.known()
    return JSONResponse(
        {name: nodes.object_info(name, node) for name, node in known.items()}
    )


def get_object_info_of(request: Request) -> Response:
    desk_of(request, "read")
    name = request.path_params["node_class"]
    node = nodes.known().get(name)
    return JSONResponse({name: nodes.object_info(name, node)} if node else {})


def get_system_stats(request: Request) -> Response:
    """Nothing of the machine: it is the queue that works, wherever its workers are."""
    desk_of(request, "read")
    system = {
        "os": "posix",
        "ram_total": 0,
        "ram_free": 0,
        "comfyui_version": f"darkroom-{__version__}",
        "python_version": platform.python_version(),
        "pytorch_version": "",
        "embedded_python": False,
        "argv": [],
    }
    return JSONResponse({"system": system, "devices": []})


async def websocket(socket: WebSocket) -> None:
    try:
        desk = desk_of(socket, "read")
        await socket.app.state.connections.serve(socket, desk)
    except Problem as problem:
        await socket.send_denial_response(errors.response(errors.of_problem(problem)))


async def _json(request: Request) -> Any:
    """The body, whatever its content type says; nothing is an empty object. Raises
    `Refusal`, and `Problem` 408 and 413.
    """
    body = await read_body(request.scope, request.receive, MAX_BODY_BYTES)
    if not body.strip():
        return {}
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        detail = f"the body is no JSON: {error}"
        raise Refusal("invalid_json", "The body cannot be read", detail) from error


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refusal("invalid_json", "The body cannot be read", "send an object")
    return body


def _ids(given: Any) -> list[str]:
    """Prompts' ids. Raises `Refusal`."""
    if isinstance(given, list) and len(given) <= MOST_IDS:
        found = [one for one in given if isinstance(one, str) and prompts.is_id(one)]
        if len(found) == len(given):
            return found
    detail = f"prompts' ids are UUIDs in lower case, at most {MOST_IDS} of them"
    raise Refusal("invalid_prompt_id", "Invalid prompt_id", detail)


def _count(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    if not text or text == "-1":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise Refusal("invalid_query", f"{name}: a number from 0 to 999,999")
    return int(text)


async def _http(_request: Request, error: Exception) -> Response:
    """No such address, or not by this method."""
    assert isinstance(error, HTTPException)
    detail = "the addresses here are those of GET /object_info, /prompt, /queue, /history, /view, /system_stats and /ws"
    refusal = Refusal("not_found", error.detail, detail, status=error.status_code)
    refusal.headers.update(error.headers or {})
    return errors.response(refusal)


async def _left(_request: Request, _error: Exception) -> Response:
    """The client has left before its request was whole."""
    return Response(status_code=400)
