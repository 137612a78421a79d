"""Events over the WebSocket."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.testclient import WebSocketDenialResponse
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from handlers.comfyui import live
from handlers.http import slow_clients
from handlers.http.app import build
from tests.support.access_world import Town
from tests.support.comfyui import PREFIX, Client, prompt
from tests.support.serving import serving
from tests.support.upload_world import World
from tests.unit.handlers.comfyui.test_prompts import work


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "POLL_S", 0.01)


def until_done(socket: Any, ident: str) -> list[dict[str, Any]]:
    """What a client reads that waits as ComfyUI's own example does."""
    found = []
    while True:
        message = socket.receive_json()
        found.append(message)
        data = message["data"]
        is_own = data.get("prompt_id") == ident
        if message["type"] == "executing" and is_own and data["node"] is None:
            return found


def test_a_client_is_told_of_its_prompts_and_of_nobody_elses() -> None:
    town = Town(comfyui="header")
    ann, eve = Client(town), Client(town, "eve")
    for each in (ann, eve):
        each.upload()
    path = f"{PREFIX}/ws?clientId=me"
    with town.client.websocket_connect(path, headers=ann.headers) as socket:
        first = socket.receive_json()
        assert first["data"] == {
            "status": {"exec_info": {"queue_remaining": 0}},
            "sid": "me",
        }
        eves = eve.run(prompt(), client_id="me")
        others = ann.run(prompt(model="RealESRGAN_x2plus.pth"), client_id="other")
        ident = ann.run(prompt(), client_id="me")
        socket.send_text("hello")
        work(town)
        events = until_done(socket, ident)
    kinds = [event["type"] for event in events if event["type"] != "status"]
    assert kinds == [
        "execution_start",
        "execution_cached",
        "executing",
        "executed",
        "execution_success",
        "executing",
    ]
    (executed,) = [event["data"] for event in events if event["type"] == "executed"]
    assert executed["output"]["images"][0]["filename"] == "ComfyUI_00002_.png"
    told = str(events)
    assert eves not in told
    assert others not in told


def test_connections_of_one_user_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_OF_ONE", 1)
    town = Town(comfyui="header")
    ann, eve = Client(town), Client(town, "eve")
    path = f"{PREFIX}/ws"
    with town.client as client:  # one event loop for all of them
        with client.websocket_connect(path, headers=ann.headers) as socket:
            socket.receive_json()
            with (
                pytest.raises(WebSocketDenialResponse) as caught,
                client.websocket_connect(path, headers=ann.headers),
            ):
                pass
            assert caught.value.status_code == 503
            with client.websocket_connect(path, headers=eve.headers) as other:
                other.receive_json()
        with client.websocket_connect(path, headers=ann.headers) as socket:
            socket.receive_json()


def test_a_connection_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LONGEST_S", 0.05)
    town = Town(comfyui="header")
    ann = Client(town)
    with town.client.websocket_connect(f"{PREFIX}/ws", headers=ann.headers) as socket:
        socket.receive_json()
        message = socket.receive()
        assert (message["type"], message["code"]) == ("websocket.close", 1001)


def test_an_open_connection_is_not_taken_for_a_slow_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And it is closed in good order where the server leaves."""
    stall_s = 0.02
    monkeypatch.setattr(slow_clients, "STALL_S", stall_s)
    world = World(settings={"comfyui": "none", "api_port": 0})
    settings = world.ctx.settings
    with serving(build(world.ctx, checks={}), settings) as port:
        open_ = ExitStack()
        address = f"ws://127.0.0.1:{port}/comfyui/ws"
        socket = open_.enter_context(connect(address))
        assert "status" in str(socket.recv(timeout=10))
        later_s = time.monotonic() + 20 * stall_s
        while time.monotonic() < later_s:
            assert socket.ping().wait(10)
    with open_, pytest.raises(ConnectionClosed):
        socket.recv(timeout=10)
    assert socket.close_code in (1001, 1012)


def test_a_client_may_not_say_much() -> None:
    world = World(settings={"comfyui": "none", "api_port": 0})
    with (
        serving(build(world.ctx, checks={}), world.ctx.settings) as port,
        connect(f"ws://127.0.0.1:{port}/comfyui/ws") as socket,
    ):
        socket.recv(timeout=10)  # the status
        socket.send("x" * (1 << 20))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=10)
        assert socket.close_code == 1009
