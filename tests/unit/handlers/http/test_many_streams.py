"""Many streams of progress at once, on real sockets: one user does not take them from
the others.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from handlers.http import app
from handlers.http.api import state, streams
from handlers.http.api.state import State
from shared import access
from shared.uploads import identity
from tests.support.serving import serving
from tests.support.upload_world import World, photo
from tests.support.waiting import eventually


def status_of(connection: socket.socket, task_id: str, key: str) -> int:
    head = f"GET /v1/tasks/{task_id}/events HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {key}\r\n\r\n"
    connection.sendall(head.encode())
    return int(connection.recv(12)[9:])


def test_one_user_takes_no_more_than_a_share_of_the_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "STREAMS_OF_ONE", 2)
    monkeypatch.setattr(state, "of_receipt", lambda *_: State("queued"))
    world, now = World(settings={"api_port": 0}), World().clock.now()
    tasks, keys = {}, {}
    for user in ("ann", "eve"):
        decision = world.upload(f"{user}.png", photo(), {"user": user})
        world.restore(decision)
        text, document = access.mint(
            identity.user_hash(user, b"pepper"), ("read",), now
        )
        world.store.put(
            "access", access.place(document.id), document.to_bytes(), "application/json"
        )
        tasks[user], keys[user] = decision.task_id or "", text
    with (
        serving(app.build(world.ctx, checks={}), world.ctx.settings) as port,
        ExitStack() as open_,
    ):

        def stream(user: str) -> int:
            connection = open_.enter_context(
                socket.create_connection(("127.0.0.1", port))
            )
            return status_of(connection, tasks[user], keys[user])

        with ExitStack() as first:
            for _ in range(2):
                connection = first.enter_context(
                    socket.create_connection(("127.0.0.1", port))
                )
                assert status_of(connection, tasks["ann"], keys["ann"]) == 200
            assert [stream("ann"), stream("eve")] == [503, 200]
        eventually(lambda: stream("ann") == 200, "a place for another stream")
