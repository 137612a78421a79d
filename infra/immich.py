"""A client of Immich's API, as far as the photos of an album go: listed, fetched, and
results put beside them as a stack.

The shapes are those of Immich's OpenAPI document (`/search/metadata`, `/assets`,
`/stacks`, `/albums/{id}/assets`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import httpx

from shared.errors import Code, NotFound, PermanentError, SettingsError, TransientError

TIMEOUT = httpx.Timeout(30.0, write=300.0)
PAGE = 250
SUFFIX = "-restored.png"
"""How a result's name ends; what is called so is none to be restored."""
DEVICE = "darkroom"


@dataclass(frozen=True)
class Asset:
    """A photo in Immich. Times are in ISO 8601."""

    id: str
    name: str
    created_at: str
    modified_at: str

    @property
    def is_result(self) -> bool:
        return self.name.endswith(SUFFIX)

    @property
    def result_name(self) -> str:
        return f"{Path(self.name).stem}{SUFFIX}"


class Immich:
    """A connection to one server with one API key.

    All methods raise `NotFound`, `SettingsError` where the key may not do it,
    `PermanentError` for another refusal, and `TransientError` where the server does not
    answer.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        base_url = url.rstrip("/").removesuffix("/api") + "/api"
        headers = {"x-api-key": key, "accept": "application/json"}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def photos(self, album: UUID) -> Iterator[Asset]:
        """The photos of an album, but for results."""
        page: int | None = 1
        while page is not None:
            asked = {"albumIds": [str(album)], "type": "IMAGE"}
            body = {**asked, "page": page, "size": PAGE}
            found = self._request("POST", "/search/metadata", json=body).json()
            assets = found["assets"]
            for item in assets["items"]:
                asset = Asset(
                    id=str(UUID(item["id"])),
                    name=item["originalFileName"],
                    created_at=item["fileCreatedAt"],
                    modified_at=item["fileModifiedAt"],
                )
                if not asset.is_result:
                    yield asset
            following = assets.get("nextPage")
            page = int(following) if following else None

    def fetch(self, asset: Asset, to: Path) -> None:
        """Write the original of a photo to a file."""
        path = f"/assets/{asset.id}/original"
        try:
            with self._http.stream("GET", path) as response, to.open("wb") as file:
                if not response.is_success:
                    response.read()
                    raise _refusal(path, response)
                for piece in response.iter_bytes():
                    file.write(piece)
        except httpx.HTTPError as error:
            raise self._away(error) from error

    def put_beside(self, asset: Asset, result: Path, album: UUID) -> bool:
        """Upload a result, stack it above its photo and add it to the album.

        False: Immich had it already, and nothing changed.
        """
        fields = {
            "deviceAssetId": f"{DEVICE}-{asset.id}",
            "deviceId": DEVICE,
            # Beside its photo in time as well.
            "fileCreatedAt": asset.created_at,
            "fileModifiedAt": asset.modified_at,
        }
        with result.open("rb") as file:
            files = {"assetData": (asset.result_name, file, "image/png")}
            sent = self._request("POST", "/assets", data=fields, files=files).json()
        if sent["status"] == "duplicate":
            return False
        added = str(UUID(sent["id"]))
        # The first one is shown.
        self._request("POST", "/stacks", json={"assetIds": [added, asset.id]})
        self._request("PUT", f"/albums/{album}/assets", json={"ids": [added]})
        return True

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise self._away(error) from error
        if not response.is_success:
            raise _refusal(path, response)
        return response

    def _away(self, error: httpx.HTTPError) -> TransientError:
        detail = f"{self._url} does not answer: {type(error).__name__}"
        return TransientError(Code.INTERNAL, detail)


def _refusal(path: str, response: httpx.Response) -> PermanentError | TransientError:
    detail = f"Immich answers {response.status_code} to {path}"
    if response.status_code in (401, 403):
        needs = "asset.read, asset.download, asset.upload, stack.create and albumAsset.create"
        return SettingsError(f"{detail}: its API key needs {needs}")
    if response.status_code in (400, 404):
        return NotFound(Code.SOURCE_MISSING, f"{detail}: is that the album's id?")
    if response.status_code >= 500:
        return TransientError(Code.INTERNAL, detail)
    return PermanentError(Code.INTERNAL, detail)
