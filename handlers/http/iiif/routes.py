"""`/iiif`: the Image API 3 (level 0) and the Presentation API 3, for who may read a
result; and the same under `/iiif/t/{token}`, for viewers elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import RedirectResponse, Response

from handlers.context import Context
from handlers.http.api import ingest_results, ingests
from handlers.http.api.dependencies import Api, Reader
from handlers.http.api.file_names import title_of
from handlers.http.api.services import Services
from handlers.http.api.tasks import record_of
from handlers.http.auth.guard import Guard
from handlers.http.auth.principal import Principal
from handlers.http.iiif import links, manifests
from handlers.http.iiif.addresses import PREFIX, Addresses
from handlers.http.iiif.links import Link
from handlers.http.iiif.zip_index import Index, Key
from handlers.http.problems import Problem
from shared.uploads import keys
from shared.uploads.keys import Picture
from shared.uploads.pyramids import Pyramid

T = TypeVar("T")

WAIT_S = 10.0
"""How long a viewer's first request waits for the tiles: most know no "ask again"."""
LOOK_S = 0.25
RETRY_S = 2
ORIGINAL = "~original"
IMAGE_TYPE = 'application/ld+json;profile="http://iiif.io/api/image/3/context.json"'
PRESENTATION_TYPE = (
    'application/ld+json;profile="http://iiif.io/api/presentation/3/context.json"'
)
LINKED = {"Access-Control-Allow-Origin": "*"}
"""Whoever has the link may look, so any page may show what is there."""


@dataclass(frozen=True)
class Viewer:
    """Who looks, and where. `link`: by which one, if not by a key or a session."""

    api: Services
    principal: Principal
    addresses: Addresses
    link: Link | None = None

    def check(self, task_id: UUID) -> None:
        """Raises `Problem` 404 for a task that the link does not open."""
        if self.link and (self.link.kind, self.link.id) != ("task", task_id):
            raise Problem(404, f"no task {task_id} at this link", "not_found")

    @property
    def headers(self) -> dict[str, str]:
        return LINKED if self.link else {}


async def signed_in(request: Request, api: Api, principal: Reader) -> Viewer:
    """A viewer with a key or a session that may read."""
    return Viewer(api, principal, Addresses.of(request, api.ctx.settings))


async def by_link(token: str, request: Request, api: Api) -> Viewer:
    """A viewer with a link. Raises `Problem` 404 for one that is none, or expired."""
    ctx = api.ctx
    link = links.read(token, _pepper(ctx), ctx.clock.now())
    guard: Guard = request.app.state.iiif_guard
    address = guard.addresses.of(request.scope)
    name = f"link {link.id}" if link else "link"
    limited = Principal(name, False, frozenset({"read"}), "link")
    await guard.limits.run(guard.limits.admit, limited, address)
    if link is None:
        detail = "this link has expired, or is none; ask its owner for another"
        raise Problem(404, detail, "not_found", LINKED)
    addresses = Addresses.of(request, ctx.settings, token)
    # The link opens one thing, whosever it is: `Viewer.check` sees to that.
    reader = Principal(name, True, frozenset({"read"}), "link")
    return Viewer(api, reader, addresses, link)


def install(app: FastAPI, guard: Guard) -> None:
    """Add what needs no key to `app`."""
    app.state.iiif_guard = guard
    app.include_router(_router(f"{PREFIX}/t/{{token}}", by_link))


def router() -> APIRouter:
    """The routes for who has a key or a session."""
    return _router(PREFIX, signed_in)


def _router(prefix: str, viewer_of: Callable[..., Awaitable[Viewer]]) -> APIRouter:
    # What they answer is described by IIIF's own documents.
    router = APIRouter(prefix=prefix, include_in_schema=False)
    current: Any = Depends(viewer_of)

    @router.get("/3/{picture}")
    async def image_base(picture: str, viewer: Viewer = current) -> Response:
        task_id, of = _picture(picture)
        url = f"{viewer.addresses.picture(task_id, of)}/info.json"
        return RedirectResponse(url, 303, viewer.headers)

    @router.get("/3/{picture}/info.json")
    async def image_info(picture: str, viewer: Viewer = current) -> Response:
        task_id, of = _picture(picture)
        index = await _waited(partial(_index, viewer, task_id, of))
        if index is None:
            return _being_made(viewer)
        told = await run_sync(_entry, viewer, task_id, of, "info.json")
        found = json.loads(told)
        found["id"] = viewer.addresses.picture(task_id, of)
        return _document(viewer, found, IMAGE_TYPE)

    @router.get("/3/{picture}/{region}/{size}/0/default.jpg")
    def image_tile(
        picture: str, region: str, size: str, viewer: Viewer = current
    ) -> Response:
        task_id, of = _picture(picture)
        data = _entry(viewer, task_id, of, f"{region}/{size}/0/default.jpg")
        headers = {"Cache-Control": "private, max-age=300"} | viewer.headers
        return Response(data, 200, headers, "image/jpeg")

    @router.get("/presentation/3/{task_id}/manifest.json")
    async def manifest(task_id: UUID, viewer: Viewer = current) -> Response:
        pictures = await _waited(partial(_pictures, viewer, task_id))
        if pictures is None:
            return _being_made(viewer)
        found = await run_sync(_manifest, viewer, task_id, pictures)
        return _document(viewer, found, PRESENTATION_TYPE)

    @router.get("/presentation/3/jobs/{job}/collection.json")
    def collection(job: UUID, viewer: Viewer = current) -> Response:
        return _document(viewer, _collection(viewer, job), PRESENTATION_TYPE)

    return router


async def _waited(look: Callable[[], T | None]) -> T | None:
    """What `look` finds, which is asked again for a while: once at least, however busy
    the machine is.
    """
    found = await run_sync(look)
    with anyio.move_on_after(WAIT_S):
        while found is None:
            await anyio.sleep(LOOK_S)
            found = await run_sync(look)
    return found


def _picture(name: str) -> tuple[UUID, Picture]:
    """The task and which of its pictures. Raises `Problem` 404."""
    of: Picture = "original" if name.endswith(ORIGINAL) else "result"
    try:
        return UUID(name.removesuffix(ORIGINAL)), of
    except ValueError:
        raise Problem(404, f"no picture {name[:80]!r}", "not_found") from None


def _index(viewer: Viewer, task_id: UUID, of: Picture) -> Index | None:
    viewer.check(task_id)
    api = viewer.api
    find = partial(api.pyramids.wanted, viewer.principal, task_id, of)
    return api.indexes.get(_key(viewer, task_id, of), find)


def _key(viewer: Viewer, task_id: UUID, of: Picture) -> Key:
    return viewer.principal.user_hash, task_id, of


def _entry(viewer: Viewer, task_id: UUID, of: Picture, name: str) -> bytes:
    """The bytes of an entry of a pyramid. Raises `Problem` 404, `NotFound`."""
    index = _index(viewer, task_id, of)
    entry = index.entries.get(name) if index else None
    if index is None or entry is None:
        detail = f"no such tile; info.json of {task_id} says which there are"
        raise Problem(404, detail, "not_found", viewer.headers)
    return viewer.api.indexes.read(_key(viewer, task_id, of), index, entry)


def _pictures(viewer: Viewer, task_id: UUID) -> dict[Picture, Pyramid] | None:
    """The pyramids of a task; None while one is being made. Of an original that is
    gone, or cannot be shown, there is none.
    """
    viewer.check(task_id)
    wanted = partial(viewer.api.pyramids.wanted, viewer.principal, task_id)
    result = wanted("result")
    try:
        original = wanted("original")
    except Problem as problem:
        if problem.status not in (404, 409):
            raise
        return {"result": result} if result else None
    if result is None or original is None:
        return None
    return {"result": result, "original": original}


def _manifest(
    viewer: Viewer, task_id: UUID, pictures: dict[Picture, Pyramid]
) -> dict[str, Any]:
    record = record_of(viewer.api, viewer.principal, task_id)
    source = record.source
    address = f"{viewer.addresses.api}/v1/tasks/{task_id}/record"
    return manifests.manifest(
        viewer.addresses,
        record,
        title_of(source.filename or keys.filename(source.key)),
        viewer.api.ctx.settings.label_text,
        pictures,
        None if viewer.link else address,
    )


def _collection(viewer: Viewer, job: UUID) -> dict[str, Any]:
    if viewer.link and (viewer.link.kind, viewer.link.id) != ("job", job):
        raise Problem(404, f"no job {job} at this link", "not_found")
    api = viewer.api
    found = ingests.seen(api.ctx, viewer.principal, job)
    rows = ingest_results.rows(
        api.audit_log, ingests.uploads_of(found), ingest_results.RESTORED
    )
    listed = {str(row.task_id): row.image_filename or "photo" for row in rows}
    named = [
        (_manifest_address(viewer, UUID(task_id)), name)
        for task_id, name in listed.items()
    ]
    return manifests.collection(viewer.addresses.collection(job), found.name, named)


def _manifest_address(viewer: Viewer, task_id: UUID) -> str:
    """Of a link to a job, each manifest has a link of its own."""
    if viewer.link is None:
        return viewer.addresses.manifest(task_id)
    token = viewer.link.for_task(task_id).token(_pepper(viewer.api.ctx))
    return viewer.addresses.with_token(token).manifest(task_id)


def _being_made(viewer: Viewer) -> Response:
    body = {"status": "queued", "detail": "the tiles are being made; ask again"}
    headers = {"Retry-After": str(RETRY_S)} | viewer.headers
    return Response(json.dumps(body), 202, headers, "application/json")


def _document(viewer: Viewer, found: dict[str, Any], media_type: str) -> Response:
    return Response(json.dumps(found), 200, viewer.headers, media_type)


def _pepper(ctx: Context) -> bytes:
    return ctx.settings.pepper.get_secret_value().encode()
