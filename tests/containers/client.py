"""An app: it knows the two published addresses and a key, and nothing of the networks
inside.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import httpx
from PIL import Image
from standardwebhooks import Webhook

from tests.containers.deployment import DEADLINE_S, OUTSIDE, OUTSIDE_PORT, Deployment
from tests.support.waiting import eventually

SIDES = (48, 32)
ENDED = ("success", "duplicate", "rejected", "failed")


@dataclass
class App:
    """One who uploads by tickets, is called back, and fetches results by the links."""

    deployment: Deployment

    def __post_init__(self) -> None:
        values = self.deployment.values
        self.api_url = f"http://localhost:{values['API_PORT']}"
        self.store_url = f"http://localhost:{values['S3_PORT']}"
        key = {"Authorization": f"Bearer {values['DARKROOM_API_KEY']}"}
        self.api = httpx.Client(
            base_url=self.api_url, headers=key, timeout=60, trust_env=False
        )
        self._webhook = Webhook(values["DARKROOM_WEBHOOK_SECRET"])

    def upload(self, colour: tuple[int, int, int]) -> str:
        """Ask for a ticket, put a photo of one colour to the URL that it names. The
        ticket.
        """
        photo = io.BytesIO()
        Image.new("RGB", SIDES, colour).save(photo, "PNG")
        data = photo.getvalue()
        asked = {
            "filename": "grandmother.png",
            "content_type": "image/png",
            "workflow": "fast",
            "bytes": len(data),
            "callback": f"http://{OUTSIDE}:{OUTSIDE_PORT}/hook",
        }
        answer = self.api.post("/v1/uploads", json=asked)
        assert answer.status_code == 201, answer.text
        ticket = answer.json()
        assert ticket["put"]["url"].startswith(f"{self.store_url}/")
        httpx.put(
            ticket["put"]["url"],
            content=data,
            headers=ticket["put"]["headers"],
            timeout=60,
        ).raise_for_status()
        name: str = ticket["ticket"]
        return name

    def restored(self, ticket: str) -> str:
        """The task of a photo that has ended well, once it has."""

        def ended() -> dict[str, Any] | None:
            try:
                state: dict[str, Any] = (
                    self.api.get(f"/v1/uploads/{ticket}").raise_for_status().json()
                )
            except httpx.HTTPError:
                return None  # something is being restarted
            return state if state["status"] in ENDED else None

        state = eventually(ended, f"an end of {ticket}", DEADLINE_S)
        assert state is not None
        assert state["status"] == "success", state
        task: str = state["task_id"]
        return task

    def result(self, task: str) -> Image.Image:
        """The restored photo."""
        return Image.open(io.BytesIO(self.linked(f"/v1/tasks/{task}/result")))

    def linked(self, path: str) -> bytes:
        """What lies behind a link of the API, which needs no key."""
        link = self.api.get(path)
        assert link.status_code == 307
        url = link.headers["location"]
        assert url.startswith(f"{self.store_url}/")
        return httpx.get(url, timeout=60).raise_for_status().content

    def called_about(self, task: str) -> dict[str, Any]:
        """The call that its receiver has had, once its signature is seen to be ours."""

        def call() -> dict[str, Any] | None:
            for file in self.deployment.calls.glob("*.json"):
                kept = json.loads(file.read_text())
                if task in kept["body"]:
                    told: dict[str, Any] = self._webhook.verify(
                        kept["body"], kept["headers"]
                    )
                    return told
            return None

        told = eventually(call, f"the call about {task}", DEADLINE_S)
        assert told is not None
        return told
