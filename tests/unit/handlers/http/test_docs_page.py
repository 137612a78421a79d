"""The API's description as a page: whole, and without a request to anybody else."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode

from fastapi.testclient import TestClient

from handlers.http.app import build
from tests.support.upload_world import World


def test_the_page_shows_every_operation_and_asks_nobody() -> None:
    given = {"api_key": "k", "s3_access_key": "a", "s3_secret_key": "b"}
    app = build(World(settings=given).ctx, checks={})
    answer = TestClient(app).get("/docs")
    assert answer.status_code == 200
    page = answer.text
    idents = [
        operation["operationId"]
        for methods in app.openapi()["paths"].values()
        for operation in methods.values()
    ]
    assert len(idents) == len(set(idents))
    assert re.findall(r'<details id="(\w+)">', page) == sorted(
        idents, key=lambda ident: page.index(f'id="{ident}"')
    )
    assert "<script" not in page
    assert re.findall(r'(?:href|src)="([^"]+)"', page) == ["openapi.json"]
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
