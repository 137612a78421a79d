"""Prompts in ComfyUI's API format, and a client of `/comfyui` in memory."""

from __future__ import annotations

from typing import Any

import httpx2

from tests.support.access_world import Town
from tests.support.upload_world import photo

PREFIX = "/comfyui"


def prompt(image: str = "photo.png", model: str = "RealESRGAN_x4plus.pth") -> Any:
    """LoadImage → ImageUpscaleWithModel → SaveImage."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "3": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": model}},
        "4": {
            "class_type": "ImageUpscaleWithModel",
            "inputs": {"upscale_model": ["3", 0], "image": ["1", 0]},
        },
        "5": {
            "class_type": "SaveImage",
            "inputs": {"images": ["4", 0], "filename_prefix": "ComfyUI"},
        },
    }


def colour_prompt(image: str = "photo.png", **inputs: Any) -> Any:
    """What `DDColor人物黑白修复.json` comes to: LoadImage → DDColor → SaveImage."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {
            "class_type": "DDColor-ddcolorize",
            "inputs": {"image": ["1", 0], **inputs},
        },
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
    }


class Client:
    """A client of one user, with the key in the header."""

    def __init__(self, town: Town, user: str = "ann") -> None:
        self.town = town
        text, _ = town.key(user)
        self.headers = {"Authorization": f"Bearer {text}"}

    def get(self, path: str) -> httpx2.Response:
        return self.town.client.get(PREFIX + path, headers=self.headers)

    def post(self, path: str, body: Any) -> httpx2.Response:
        return self.town.client.post(PREFIX + path, json=body, headers=self.headers)

    def upload(
        self, name: str = "photo.png", data: bytes | None = None, **fields: str
    ) -> httpx2.Response:
        data = photo() if data is None else data
        return self.town.client.post(
            f"{PREFIX}/upload/image",
            files={"image": (name, data, "image/png")},
            data=fields,
            headers=self.headers,
        )

    def run(self, graph: Any, **more: Any) -> str:
        """Sends a prompt that is taken; its id."""
        answer = self.post("/prompt", {"prompt": graph, **more})
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["prompt_id"]
        return found
