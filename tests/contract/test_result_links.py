"""Links to results on the real store: what a browser is told to call the file."""

from __future__ import annotations

from uuid import uuid4

import httpx

from infra.local.stack import Stack
from tests.support.api_world import ApiWorld, tenant
from tests.support.upload_world import photo


def test_a_result_is_saved_under_the_photos_name(servers: Stack) -> None:
    """Shown by default, saved where that is asked for."""
    world = ApiWorld(servers.settings)
    user = f"user-{uuid4()}"
    bucket = world.settings.bucket_uploads
    key = f"{uuid4()}/scan.png"
    metadata = {"user": user, "workflow": "fast", "filename": "%E5%A5%B6%E5%A5%B6.tif"}
    world.store.put(bucket, key, photo() + uuid4().bytes, "image/png", metadata)
    receipt = world.decide(key)
    world.restore(receipt)
    client = world.client(tenant(user, world.settings))
    for query, kind in (("", "inline"), ("?download=true", "attachment")):
        path = f"/v1/tasks/{receipt.task_id}/result{query}"
        link = client.get(path).headers["location"]
        header = httpx.get(link).headers["content-disposition"]
        whole = "filename*=UTF-8''%E5%A5%B6%E5%A5%B6-restored.png"
        assert header == f'{kind}; filename="__-restored.png"; {whole}'
