"""`/healthz` and `/readyz`, which a load balancer may ask without a key.

Anybody else may ask as well, so both answer with one word. Which service is away, and
every metric, is on the process's own `metrics_port`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from handlers.http.readiness import Check, run_checks

SILENT_S = 60.0
"""A consumer that has not heard the broker for longer is stuck, unless the broker
itself is away.
"""

router = APIRouter(include_in_schema=False)


class ConsumerState(Protocol):
    """What health has to know of the queue consumer in this process."""

    def is_running(self) -> bool: ...

    def silent_s(self) -> float:
        """Seconds since the consumer last heard the broker."""


class Health:
    """The state of this process. `consumer` is None where the process has none."""

    def __init__(
        self, checks: Mapping[str, Check], consumer: ConsumerState | None
    ) -> None:
        self._checks = checks
        self._consumer = consumer

    async def is_alive(self) -> bool:
        """Whether the process works; if not, it should be restarted."""
        consumer = self._consumer
        if consumer is None:
            return True
        if not consumer.is_running():
            return False
        if consumer.silent_s() <= SILENT_S:
            return True
        # A broker that others hear as little is not this process's fault.
        return not await self._checks["broker"].passes()

    async def is_ready(self) -> bool:
        """Whether everything that an upload needs can be reached."""
        passed = await run_checks(self._checks)
        return all(passed.values())


def health_of(request: Request) -> Health:
    health: Health = request.app.state.health
    return health


CurrentHealth = Annotated[Health, Depends(health_of)]


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz(health: CurrentHealth) -> Response:
    """200 while this process works; 503 when it should be restarted."""
    return _status(await health.is_alive(), "stuck")


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(health: CurrentHealth) -> Response:
    """200 when what an upload needs can be reached, else 503."""
    return _status(await health.is_ready(), "unavailable")


def _status(is_good: bool, otherwise: str) -> Response:
    if is_good:
        return JSONResponse({"status": "ok"})
    return JSONResponse({"status": otherwise}, 503)
