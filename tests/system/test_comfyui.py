"""Clients of ComfyUI against a whole stack: two scripts as people copy them, and one that
listens.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from websockets.sync.client import connect

from handlers.context import Context
from handlers.http.app import build
from shared.runtime.settings import Settings
from tests.support.client import PATIENCE_S, photo
from tests.support.comfyui import prompt
from tests.support.serving import serving
from tests.support.waiting import eventually

SCRIPTS = Path(__file__).parents[1] / "data" / "comfyui"
MODEL = "realesr-animevideov3.pth"
"""The smallest of the networks that there are weights for."""


@pytest.fixture
def server(stack: Settings) -> Iterator[str]:
    """The stack's own services behind ComfyUI's addresses."""
    settings = stack.model_copy(update={"comfyui": "none", "api_port": 0})
    with serving(build(Context.of(settings), checks={}), settings) as port:
        yield f"http://127.0.0.1:{port}/comfyui"


def run(script: str, *arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_scripts_for_comfyui_run_as_they_are(server: str, tmp_path: Path) -> None:
    """One photo, a folder of photos, and events over the WebSocket."""
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps(prompt("example.png", model=MODEL)))
    source, target = tmp_path / "old.png", tmp_path / "new.png"
    source.write_bytes(photo(32, 24))
    assert run("one_photo.py", server, workflow, source, target) == ["success"]
    with Image.open(target) as image:
        assert image.size == (128, 96)

    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(photo(24, 24))
    for prompt_id in run("batch.py", server, workflow, folder):
        entry = eventually(
            lambda ident=prompt_id: httpx.get(f"{server}/history/{ident}").json(),
            "the end of a prompt",
            PATIENCE_S,
        )
        assert entry[prompt_id]["status"]["status_str"] == "success"
    shown = httpx.get(f"{server}/view", params={"filename": "b_00001_.png"})
    with Image.open(io.BytesIO(shown.content)) as image:
        assert image.size == (96, 96)

    address = server.replace("http", "ws", 1) + "/ws?clientId=me"
    with connect(address, origin=server.removesuffix("/comfyui")) as socket:  # type: ignore[arg-type]
        files = {"image": ("c.png", photo(24, 16))}
        name = httpx.post(f"{server}/upload/image", files=files).json()["name"]
        sent = {"prompt": prompt(name, model=MODEL), "client_id": "me"}
        ident = httpx.post(f"{server}/api/prompt", json=sent).json()["prompt_id"]
        kinds = []
        while True:
            message = json.loads(socket.recv(timeout=PATIENCE_S))
            kinds.append(message["type"])
            data = message["data"]
            is_own = data.get("prompt_id") == ident
            if message["type"] == "executing" and is_own and data["node"] is None:
                break
    assert "executed" in kinds
    assert "execution_success" in kinds
