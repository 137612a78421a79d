"""One request to an address that is set, bounded in size and in time, however slowly the
answer trickles. No redirect is followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx

TIMEOUT_S = 5.0
MAX_BYTES = 256 << 10


def download(
    url: str,
    form: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None,
) -> bytes:
    """The answer to a GET; with a `form` to a POST of it. `basic`: name and password.

    Blocks. Raises `HTTPError`, `ValueError` for any status but 200 and for more than
    `MAX_BYTES`, `OSError`, among which is `TimeoutError`.
    """
    return asyncio.run(asyncio.wait_for(_read(url, form, basic), TIMEOUT_S))


async def _read(
    url: str, form: Mapping[str, str] | None, basic: tuple[str, str] | None
) -> bytes:
    body = bytearray()
    method = "GET" if form is None else "POST"
    async with (
        httpx.AsyncClient(auth=basic) as client,
        client.stream(method, url, data=form, follow_redirects=False) as response,
    ):
        if response.status_code != 200:
            raise ValueError(f"status {response.status_code}")
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError("too large")
    return bytes(body)
