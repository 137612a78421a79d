"""`/events/storage`: the object store reports here that an object was written."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import asdict
from hmac import compare_digest
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from handlers.context import Context
from handlers.http.admission import AdmissionControl
from handlers.http.auth.limits import RecordFailure
from handlers.http.problems import Problem
from handlers.http.request_body import read_body
from handlers.intake.decision import Decision
from handlers.intake.notifications import MAX_BYTES
from handlers.take_in import take_in

router = APIRouter(include_in_schema=False)


class NotificationReceiver:
    """Authorises a notification and decides on its uploads."""

    def __init__(
        self,
        ctx: Context,
        record_failure: RecordFailure,
    ) -> None:
        self._ctx = ctx
        self._record_failure = record_failure
        self._admission = AdmissionControl()

    async def receive(self, request: Request) -> list[Decision]:
        """One decision for each event, in order. Raises `Problem` 401, 408, 413, 503."""
        await self._authorise(request)
        body = await read_body(request.scope, request.receive, MAX_BYTES)
        headers = dict(request.headers)
        return await self._admission.run(
            lambda: take_in(body, headers, self._ctx, "http")
        )

    async def _authorise(self, request: Request) -> None:
        token = _token(request.headers.get("authorization", ""))
        expected = self._ctx.settings.webhook_token.get_secret_value()
        # An empty secret lets nothing in.
        if expected and compare_digest(token.encode(), expected.encode()):
            return
        if token:
            reason = "the token of storage notifications is wrong"
            await self._record_failure(request.scope, reason)
        detail = "storage notifications need `Authorization: Bearer …` with the value of DARKROOM_WEBHOOK_TOKEN"
        raise Problem(401, detail, "unauthorized", {"WWW-Authenticate": "Bearer"})


def receiver_of(request: Request) -> NotificationReceiver:
    receiver: NotificationReceiver = request.app.state.notifications
    return receiver


Receiver = Annotated[NotificationReceiver, Depends(receiver_of)]


@router.api_route("/events/storage", methods=["GET", "HEAD"])
async def probe() -> Response:
    """200. MinIO and RustFS ask for this before they send any notification."""
    return Response()


@router.api_route("/events/storage", methods=["POST", "PUT"])
async def receive(
    request: Request,
    receiver: Receiver,
) -> Response:
    """The decisions on the uploads of one notification."""
    decisions = await receiver.receive(request)
    return JSONResponse({"decisions": [asdict(decision) for decision in decisions]})


def _token(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip()
        case "basic":
            # Ceph can be given nothing but an address: `http://name:password@host/`.
            return _password(value).strip()
        case _:
            return ""


def _password(value: str) -> str:
    """The password in Base64 of `name:password`; empty where `value` is anything else."""
    try:
        name_and_password = b64decode(value, validate=True).decode()
    except ValueError:
        return ""
    return name_and_password.partition(":")[2]
