"""Where a viewer finds documents and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import Request

from shared.runtime.settings import HttpSettings
from shared.uploads.keys import Picture

PREFIX = "/iiif"


@dataclass(frozen=True)
class Addresses:
    """Addresses under `base`: that of everybody, or of a link."""

    base: str

    @classmethod
    def of(
        cls, request: Request, settings: HttpSettings, token: str | None = None
    ) -> Addresses:
        """The addresses as clients reach the server: by the settings, or as this
        request did.
        """
        url = settings.api_url.rstrip("/")
        if not url:
            own = urlsplit(str(request.base_url))
            url = f"{own.scheme}://{own.netloc}"
        folder = "" if token is None else f"/t/{token}"
        return cls(f"{url}{PREFIX}{folder}")

    def with_token(self, token: str) -> Addresses:
        """The same under another link."""
        root, _, _ = self.base.partition(f"{PREFIX}/t/")
        return Addresses(f"{root}{PREFIX}/t/{token}")

    @property
    def api(self) -> str:
        """Where `/v1` is."""
        return self.base.rpartition(PREFIX)[0]

    def picture(self, task_id: UUID | str, of: Picture) -> str:
        """The Image API's address of a picture."""
        mark = "~original" if of == "original" else ""
        return f"{self.base}/3/{task_id}{mark}"

    def manifest(self, task_id: UUID | str) -> str:
        return f"{self.base}/presentation/3/{task_id}/manifest.json"

    def collection(self, job: UUID | str) -> str:
        return f"{self.base}/presentation/3/jobs/{job}/collection.json"
