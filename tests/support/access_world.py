"""The whole app in memory, with its authentication, and keys to it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
from fastapi.testclient import TestClient

from handlers.http.app import build
from shared import access
from shared.access import USUAL, ApiKey, Scope
from shared.uploads import identity
from tests.support.upload_world import World

OPERATOR = "operators-key-operators-key-operators"
PHOTO = {"filename": "grandma.jpg", "content_type": "image/jpeg", "bytes": 1000}


class Town:
    """The whole app in memory, and keys to it."""

    def __init__(self, peer: str = "192.0.2.7", **settings: Any) -> None:
        self.world = World(
            settings={
                "api_key": OPERATOR,
                "s3_endpoint_url": "http://s3.example",
                "s3_access_key": "a",
                "s3_secret_key": "s",
            }
            | settings
        )
        self.client = TestClient(
            build(self.world.ctx, checks={}),
            client=(peer, 40_000),
            raise_server_exceptions=False,
        )

    def key(
        self, user: str = "ann", scopes: tuple[Scope, ...] = USUAL, days: float = 1
    ) -> tuple[str, ApiKey]:
        now = self.world.clock.now()
        text, document = access.mint(
            identity.user_hash(user, b"pepper"), scopes, now, now + timedelta(days=days)
        )
        self.keep(document)
        return text, document

    def keep(self, document: ApiKey) -> None:
        self.world.store.put(
            "access", access.place(document.id), document.to_bytes(), "application/json"
        )

    def ask(
        self, key: str | None, path: str = "/v1/workflows", **headers: str
    ) -> httpx2.Response:
        given = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return self.client.get(path, headers=given | headers)

    def post(self, key: str | None, **changes: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return self.client.post("/v1/uploads", json=PHOTO | changes, headers=headers)
