"""The HTTP app: storage notifications, health, the API, and the console."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI

from handlers.comfyui import routes as comfyui
from handlers.context import Context
from handlers.http import docs_page, events_route, health, observed, problems
from handlers.http.api import routes
from handlers.http.auth import guard
from handlers.http.console import routes as console
from handlers.http.events_route import NotificationReceiver
from handlers.http.health import ConsumerState, Health
from handlers.http.iiif import routes as iiif
from handlers.http.readiness import Check, checks_of
from shared import __version__


def build(
    ctx: Context,
    consumer: ConsumerState | None = None,
    checks: Mapping[str, Check] | None = None,
) -> FastAPI:
    """The app. Raises `SettingsError`.

    `consumer` is the queue consumer of this process, if it has one; `checks` of `None`
    are those of the real services.
    """
    app = FastAPI(
        title="Darkroom",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        # A redirect to the address without its last slash would go where `Host` says,
        # by http, and take the key there.
        redirect_slashes=False,
        generate_unique_id_function=routes.operation_id,
    )
    problems.install(app)
    observed.note_routes(app)
    guarding = guard.install(app, ctx)
    observed.install(app)
    app.state.notifications = NotificationReceiver(ctx, guarding.record_failure)
    app.state.health = Health(checks_of(ctx) if checks is None else checks, consumer)
    routes.install(app, ctx)
    app.include_router(events_route.router)
    app.include_router(health.router)
    app.include_router(docs_page.router)
    iiif.install(app, guarding)
    console.install(app, ctx, guarding)
    comfyui.install(app, app.state.api, guarding)
    return app
