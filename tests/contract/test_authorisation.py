"""The authorisation matrix: every route of the API × everybody who might ask. A new
route must be entered here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import jwt
import pytest
from fastapi.testclient import TestClient

from handlers.http.api import feed
from handlers.http.app import build
from handlers.http.iiif import routes as iiif
from handlers.intake.notifications import UploadEvent
from handlers.on_upload import on_upload
from infra.local.stack import Stack
from shared import access
from shared.access import USUAL, Scope
from shared.errors import StorageUnavailable
from shared.s3.clock import SystemClock
from shared.uploads import identity
from shared.uploads.claims import Claim, Claims, DraftNote
from tests.support.api_world import ApiWorld
from tests.support.quick_reports import fake_reports

OPEN = {
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/events/storage",
    "/console",
    "/console/",
    "/console/sign-in",
    "/console/session",
    "/console/oidc",
    "/console/oidc/callback",
    "/console/oidc/sign-out",
    "/console/static/{version}/{name:path}",
}
"""What is no part of the API. `/events/storage` has a token of its own (test_http.py);
the console's page is the same for everybody, and its session has tests of its own.
"""
SECRET = "a secret of at least thirty-two bytes"
PHOTO = {"filename": "grandma.jpg", "content_type": "image/png", "workflow": "fast"}

LOOK = {"workflow": "fast", "max_px": 64}


@dataclass(frozen=True)
class Row:
    """`scope`: what a key needs. `right`: the answer to the owner. `other`: to another
    user with every right. `any_scope`: whether any other scope will do as well.
    `operator`: to the operator, where that is another answer.
    """

    scope: Scope
    right: int
    other: int
    query: str = ""
    any_scope: bool = False
    operator: int | None = None
    body: Callable[[dict[str, str]], dict[str, Any]] = lambda _: PHOTO


MATRIX = {
    "POST /v1/uploads": Row("upload", 201, 201),
    "POST /v1/previews": Row(
        "upload",
        202,
        404,
        body=lambda own: {"source": {"task_id": own["task_id"]}, **LOOK},
    ),
    "POST /v1/tasks": Row(
        "upload", 202, 404, body=lambda own: {"task_id": own["task_id"]}
    ),
    "POST /v1/tasks/{task_id}/retry": Row("upload", 409, 404, body=lambda _: {}),
    "GET /v1/previews/sheet": Row("read", 200, 404, "?task_id={task_id}"),
    "GET /v1/uploads/{ticket}": Row("read", 200, 404, "?user={user}"),
    "DELETE /v1/uploads/{ticket}": Row("delete", 200, 404, "?user={user}"),
    "GET /v1/tasks": Row("read", 200, 200),
    "GET /v1/tasks/{task_id}": Row("read", 200, 404),
    "DELETE /v1/tasks/{task_id}": Row("delete", 200, 404, "?erase=true"),
    "GET /v1/tasks/{task_id}/result": Row("read", 307, 404),
    "GET /v1/tasks/{task_id}/original": Row("read", 307, 404),
    "POST /v1/tasks/{task_id}/tiles": Row("read", 202, 404),
    "POST /v1/tasks/{task_id}/viewer-link": Row("read", 200, 404, body=lambda _: {}),
    "GET /v1/tasks/{task_id}/preview": Row("read", 307, 404),
    # Of a photo that is done; of one in work see below.
    "GET /v1/tasks/{task_id}/draft": Row("read", 404, 404),
    "GET /v1/tasks/{task_id}/mask": Row("read", 307, 404),
    "GET /v1/tasks/{task_id}/copies/{format}": Row("read", 307, 404),
    "GET /v1/tasks/{task_id}/credentials": Row("read", 307, 404),
    "GET /v1/tasks/{task_id}/record": Row("read", 200, 404),
    "GET /v1/tasks/{task_id}/report": Row("read", 200, 404),
    "GET /v1/tasks/{task_id}/report.pdf": Row("read", 200, 404),
    "GET /v1/tasks/{task_id}/events": Row("read", 200, 404),
    "POST /v1/ingests": Row(
        "upload", 201, 201, body=lambda own: {"name": own["album"]}
    ),
    "GET /v1/ingests": Row("read", 200, 200),
    "GET /v1/ingests/{job}": Row("read", 200, 404),
    "POST /v1/ingests/{job}/end": Row("upload", 200, 404, body=lambda _: {"sent": 1}),
    "GET /v1/ingests/{job}/items": Row("read", 200, 404),
    "GET /v1/ingests/{job}/unsent": Row("read", 200, 404),
    "GET /v1/ingests/{job}/results": Row("read", 200, 404),
    "GET /v1/ingests/{job}/report": Row("read", 200, 404),
    "GET /v1/ingests/{job}/report.pdf": Row("read", 200, 404),
    "POST /v1/ingests/{job}/viewer-link": Row("read", 200, 404, body=lambda _: {}),
    "GET /v1/queue": Row("read", 200, 200),
    "GET /v1/events": Row("read", 200, 200),
    "GET /v1/me": Row("read", 200, 200, any_scope=True),
    "GET /v1/workflows": Row("read", 200, 200),
    "GET /v1/stats": Row("read", 200, 200),
    "GET /v1/stats/summary": Row("read", 200, 200),
    "GET /v1/status": Row("read", 403, 403, operator=200),
    "GET /v1/dead": Row("read", 403, 403, operator=200),
    "POST /v1/dead/retry": Row(
        "read", 403, 403, operator=404, body=lambda _: {"ids": ["0123456789ab"]}
    ),
}
IIIF = {
    "GET /iiif/3/{picture}": Row("read", 303, 303),
    "GET /iiif/3/{picture}/info.json": Row("read", 202, 404),
    "GET /iiif/3/{picture}/{region}/{size}/0/default.jpg": Row("read", 404, 404),
    "GET /iiif/presentation/3/{task_id}/manifest.json": Row("read", 202, 404),
    "GET /iiif/presentation/3/jobs/{job}/collection.json": Row("read", 200, 404),
}
"""No part of the OpenAPI document. No worker makes the tiles here."""
ROWS = MATRIX | IIIF
AT_A_LINK = {
    path.partition(" ")[2].replace("/iiif", "/iiif/t/{token}") for path in IIIF
}
"""The same, opened by a link alone: see the tests of IIIF."""

ASKERS: dict[str, Callable[[Row], int]] = {
    "no key": lambda _: 401,
    "wrong key": lambda _: 401,
    "wrong secret": lambda _: 401,
    "expired key": lambda _: 401,
    "revoked key": lambda _: 401,
    "expired token": lambda _: 401,
    "forged token": lambda _: 401,
    "all scopes but this": lambda row: row.right if row.any_scope else 403,
    "token without this scope": lambda row: row.right if row.any_scope else 403,
    "other tenant": lambda row: row.other,
    "other tenant with admin": lambda row: row.other,
    "other tenant's token": lambda row: row.other,
    "right key": lambda row: row.right,
    "right key with this scope alone": lambda row: row.right,
    "right token": lambda row: row.right,
    "operator": lambda row: row.operator or row.right,
}


class Town:
    """The whole app on the real store and log, a restored photo of Ann's, and everybody
    who might ask for it.
    """

    def __init__(self, servers: Stack) -> None:
        self.operator = servers.settings.api_key.get_secret_value()
        more = {
            "jwt_issuer": "https://id.example",
            "jwt_audience": "darkroom",
            "jwt_secret": type(servers.settings.api_key)(SECRET),
            "limit_previews": 10_000,
        }
        self.world = ApiWorld(servers.settings.model_copy(update=more))
        self.app = build(self.world.ctx, checks={})
        self.client = TestClient(self.app, follow_redirects=False)
        self.ann, self.eve = f"ann-{uuid4()}", f"eve-{uuid4()}"

    def key(
        self,
        user: str,
        scopes: tuple[Scope, ...],
        days: int = 1,
        revoked_at: datetime | None = None,
    ) -> str:
        settings, now = self.world.settings, SystemClock().now()
        text, document = access.mint(
            self.hash(user), scopes, now, now + timedelta(days=days)
        )
        document = document.model_copy(update={"revoked_at": revoked_at})
        self.world.store.put(
            settings.bucket_access,
            access.place(document.id),
            document.to_bytes(),
            "text/json",
        )
        return text

    def session(self, user: str) -> str:
        """The cookie of a new session."""
        settings, now = self.world.settings, SystemClock().now()
        later = now + timedelta(hours=1)
        text, document = access.mint(self.hash(user), USUAL, now, later)
        document = document.model_copy(update={"kind": "session"})
        name = access.place(document.id)
        self.world.store.put(
            settings.bucket_access, name, document.to_bytes(), "text/json"
        )
        return f"darkroom={text}"

    def token(
        self,
        user: str,
        secret: str = SECRET,
        lasts_s: int = 300,
        scope: str = " ".join(USUAL),
    ) -> str:
        claims = {
            "iss": "https://id.example",
            "aud": "darkroom",
            "sub": user,
            "scope": scope,
        }
        return jwt.encode(claims | {"exp": int(time.time()) + lasts_s}, secret, "HS256")

    def hash(self, user: str) -> str:
        return identity.user_hash(
            user, self.world.settings.pepper.get_secret_value().encode()
        )

    def credential(self, asker: str, scope: Scope) -> str | None:
        rest = tuple(other for other in USUAL if other != scope)
        made: dict[str, Callable[[], str | None]] = {
            "no key": lambda: None,
            "wrong key": lambda: "wrong",
            "wrong secret": lambda: self.key(self.ann, USUAL)[:-3] + "xxx",
            "expired key": lambda: self.key(self.ann, USUAL, days=-1),
            "revoked key": lambda: self.key(
                self.ann, USUAL, revoked_at=SystemClock().now()
            ),
            "expired token": lambda: self.token(self.ann, lasts_s=-120),
            "forged token": lambda: self.token(self.ann, secret=SECRET[::-1]),
            "all scopes but this": lambda: self.key(self.ann, rest),
            "token without this scope": lambda: self.token(
                self.ann, scope=" ".join(rest)
            ),
            "other tenant": lambda: self.key(self.eve, USUAL),
            "other tenant with admin": lambda: self.key(self.eve, get_args(Scope)),
            "other tenant's token": lambda: self.token(self.eve),
            "right key": lambda: self.key(self.ann, USUAL),
            "right key with this scope alone": lambda: self.key(self.ann, (scope,)),
            "right token": lambda: self.token(self.ann),
            "operator": lambda: self.operator,
        }
        return made[asker]()

    def own(self) -> dict[str, str]:
        """A restored photo of Ann's and a ticket with a rejected one, by the names that
        paths have for them.
        """
        receipt = self.world.upload(self.ann)
        self.world.restore(receipt)
        headers = {"Authorization": f"Bearer {self.key(self.ann, USUAL)}"}
        issued = self.client.post("/v1/uploads", json=PHOTO, headers=headers).json()
        self.world.store.put("uploads", issued["key"], b"no photo", "image/png")
        on_upload(UploadEvent("uploads", issued["key"], "create"), self.world.ctx)
        album = f"album {uuid4()}"
        begun = self.client.post("/v1/ingests", json={"name": album}, headers=headers)
        assert receipt.task_id
        return {
            "task_id": receipt.task_id,
            "ticket": issued["ticket"],
            "user": self.hash(self.ann),
            "format": "jpeg",
            "album": album,
            "job": begun.json()["job"],
            "picture": receipt.task_id,
            "region": "full",
            "size": "max",
        }


@pytest.fixture(scope="module")
def town(servers: Stack) -> Town:
    return Town(servers)


@pytest.fixture(scope="module")
def photo(town: Town) -> dict[str, str]:
    """One for all who only look."""
    return town.own()


@pytest.fixture(autouse=True)
def streams_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream of all tasks ends after its first look, and nobody waits for tiles."""
    monkeypatch.setattr(feed, "LONGEST_POLLS", 1)
    monkeypatch.setattr(iiif, "WAIT_S", 0.01)


@pytest.fixture(autouse=True)
def reports_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may have a report is asked here; how a PDF is made is tested by itself."""
    fake_reports(monkeypatch)


def test_every_route_is_in_the_matrix(town: Town) -> None:
    """Those in the OpenAPI document, and those that are not in it."""
    paths = town.app.openapi()["paths"]
    assert {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method in methods
    } == set(MATRIX)
    assert set().union(*map(_paths, town.app.routes)) == (
        OPEN | AT_A_LINK | set(paths) | {route.partition(" ")[2] for route in IIIF}
    )


def _paths(route: Any) -> set[str]:
    """Of a route, or of all in a router that was included."""
    included = getattr(route, "effective_route_contexts", None)
    return {inner.path for inner in included()} if included else {route.path}


SESSIONS: dict[str, tuple[dict[str, str], Callable[[Row], int]]] = {
    "own": ({}, lambda row: row.right),
    "of another port": ({"sec-fetch-site": "same-site"}, lambda _: 403),
    "at another host": ({"host": "rebound.example"}, lambda _: 421),
    "beside a key": ({"authorization": "Bearer wrong"}, lambda _: 401),
}
"""What the browser of Ann's session sends beside its cookie, and the answer."""


@pytest.mark.parametrize("route", ROWS)
def test_a_session_gets_what_its_user_may_have_and_only_from_our_own_page(
    town: Town, route: str
) -> None:
    row, own = ROWS[route], town.own()
    method, _, path = route.partition(" ")
    cookie = town.session(town.ann)
    # The page's own request comes last: it may take the photo away.
    for more, status in reversed(SESSIONS.values()):
        headers = {"host": "127.0.0.1", "sec-fetch-site": "same-origin"}
        answer = town.client.request(
            method,
            (path + row.query).format(**own),
            json=row.body(own) if method == "POST" else None,
            headers=headers | {"cookie": cookie} | more,
        )
        assert answer.status_code == status(row), (more, answer.text)


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("route", ROWS)
def test_everybody_gets_what_the_matrix_says(
    town: Town, photo: dict[str, str], route: str, asker: str
) -> None:
    """A refusal is a problem document, and says nothing that a stranger did not know."""
    method, _, path = route.partition(" ")
    row, own = ROWS[route], photo if method == "GET" else town.own()
    credential = town.credential(asker, row.scope)
    answer = town.client.request(
        method,
        (path + row.query).format(**own),
        json=row.body(own) if method == "POST" else None,
        headers={"Authorization": f"Bearer {credential}"} if credential else {},
    )
    assert answer.status_code == ASKERS[asker](row), answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    if asker.startswith("other"):
        assert own["user"] not in answer.text
        assert answer.status_code == 404 or own["task_id"] not in answer.text


def test_what_is_done_so_far_is_its_owners_alone(town: Town) -> None:
    """And nobody's any more, once the attempt has ended."""
    receipt = town.world.upload(town.ann)
    task_id = receipt.task_id or ""
    claims = Claims(town.world.store, town.world.settings, "worker")
    claim = claims.acquire(task_id, receipt.upload_id)
    assert isinstance(claim, Claim)

    def answers() -> list[int]:
        found = []
        for user in (town.ann, town.eve):
            headers = {"Authorization": f"Bearer {town.key(user, USUAL)}"}
            path = f"/v1/tasks/{task_id}/draft"
            found.append(town.client.get(path, headers=headers).status_code)
        return found

    assert answers() == [404, 404]
    assert receipt.workflow
    draft = DraftNote(number=1, signature=receipt.workflow.signature)
    claims.renew(claim, 0.5, draft)
    assert answers() == [307, 404]
    claims.fail(claim, StorageUnavailable("away"), 60.0)
    assert answers() == [404, 404]
