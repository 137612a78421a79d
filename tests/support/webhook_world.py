"""A handler in memory with a call_log of callbacks, and a receiver that answers as it is
told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from handlers.intake.decision import Decision
from handlers.on_finished import on_finished
from handlers.webhooks.call_log import CallLog, CallResult, PendingCall
from shared.uploads import keys
from tests.support.upload_world import World, photo

URL = "https://hooks.example.com/photos?tenant=7"
TIMEOUT_S = 15.0


@dataclass
class Receiver:
    """Answers with these, one after the other; the last for ever."""

    answers: list[int | Exception] = field(default_factory=lambda: [204])
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    users: list[str | None] = field(default_factory=list)

    def __call__(self, url: str, ident: str, body: bytes, user_hash: str | None) -> int:
        self.calls.append((url, ident, json.loads(body)))
        self.users.append(user_hash)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Callbacks(World):
    """A handler in memory, and the call_log of its callbacks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.receiver = Receiver()
        self.call_log = CallLog(self.store, "results", TIMEOUT_S)

    def asked(
        self, key: str = "a.png", data: bytes | None = None, url: str = URL
    ) -> Decision:
        return self.upload(key, data or photo(), {"callback": url})

    def finished(self) -> Decision:
        decision = self.asked()
        self.restore(decision)
        return decision

    def add(self, decision: Decision) -> PendingCall:
        assert decision.upload_id
        due = self.call_log.add(decision.upload_id, "hooks.example.com", "ann")
        assert due
        return due

    def try_once(self, due: PendingCall) -> PendingCall | None:
        return on_finished(due, self.ctx, self.call_log, self.receiver)

    def result(self, decision: Decision) -> CallResult | None:
        assert decision.upload_id
        return self.call_log.result(decision.upload_id)

    def due_keys(self) -> list[str]:
        return [
            key
            for key in self.store.keys("results")
            if key.startswith(keys.callbacks_due())
        ]
