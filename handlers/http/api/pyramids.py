"""Pyramids, of which a page or a viewer shows a part at 1:1: found, or asked for.

A worker makes one when somebody first wants to look. The message may be lost: whoever
still waits asks again, and after a while so does this process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import timedelta
from functools import partial
from uuid import UUID

from handlers.context import Context
from handlers.http.api.ownership import Ownership
from handlers.http.auth.preview_limits import PreviewLimit
from handlers.http.auth.principal import Principal
from handlers.http.problems import Problem
from handlers.intake.original import is_there
from shared.broker.topology import PREVIEW
from shared.uploads.documents import Receipt
from shared.uploads.keys import Picture
from shared.uploads.messages import PyramidTask
from shared.uploads.outcome import ERASED_KEY
from shared.uploads.pyramids import Pyramid, PyramidStore

REPEAT_S = 30.0
"""A message that was sent longer ago, and came to nothing, is sent again."""
WHY_NOT = timedelta(minutes=10)
"""How long the reason why there is no pyramid stands; then it is tried again."""
RETRY_S = 5
MOST_ASKED = 10_000


class Pyramids:
    """Thread-safe. What was asked for lately is in the memory of this process."""

    def __init__(self, ctx: Context, ownership: Ownership) -> None:
        self._ctx = ctx
        self._ownership = ownership
        self._stored = PyramidStore(ctx.store, ctx.settings)
        self._limit = PreviewLimit(ctx.settings.limit_previews)
        self._asked_s: OrderedDict[tuple[str, Picture], float] = OrderedDict()
        self._lock = threading.Lock()

    def wanted(
        self, principal: Principal, task_id: UUID, of: Picture
    ) -> Pyramid | None:
        """The pyramid of one of a task's pictures. None: a worker is asked for it, and
        it will be there in a moment.

        Raises `Problem` 404 where the picture is not there, or is another user's, 409
        where it cannot be made, and 429 where too many of the user's are under way.
        """
        if of == "result":
            self._check_result(principal, task_id)
        receipt = self._ownership.one(principal, task_id)
        if of == "original":
            self._check_original(task_id, receipt)
        found = self._stored.find(str(task_id), of)
        if found is None:
            self._ask(principal, task_id, of, receipt)
        return found

    def _check_result(self, principal: Principal, task_id: UUID) -> None:
        record = self._ctx.uploads.readable_record(str(task_id))
        if record is None or not principal.sees(record.user_hash):
            raise Problem(404, f"no result of task {task_id}", "not_found")

    def _check_original(self, task_id: UUID, receipt: Receipt) -> None:
        is_erased = receipt.source.key == ERASED_KEY
        if is_erased or not is_there(self._ctx, receipt):
            detail = f"the original of task {task_id} is not there any more"
            raise Problem(404, detail, "not_found")

    def _ask(
        self, principal: Principal, task_id: UUID, of: Picture, receipt: Receipt
    ) -> None:
        task = str(task_id)
        self._check_possible(task, of)
        if not self._is_turn(task, of):
            return
        has_ended = partial(self._has_ended, task, of)
        name = f"{task} {of}"
        owner = receipt.user_hash or ""
        if not principal.operator and not self._limit.admits(owner, name, has_ended):
            self._forget(task, of)
            detail = f"the tiles of {self._limit.quota} pictures of yours are being made; ask again in a moment"
            headers = {"Retry-After": str(RETRY_S)}
            raise Problem(429, detail, "too_many_previews", headers)
        message = PyramidTask(task_id=task, upload_id=receipt.upload_id, pyramid_of=of)
        try:
            self._ctx.publisher.publish(PREVIEW, message.encode())
        except Exception:
            self._forget(task, of)
            self._limit.forget(owner, name, has_ended)
            raise

    def _check_possible(self, task_id: str, of: Picture) -> None:
        why = self._stored.why_not(task_id, of)
        if why and self._ctx.clock.now() - why.at < WHY_NOT:
            raise Problem(409, f"no tiles: {why.error_detail}", why.error_code)

    def _is_turn(self, task_id: str, of: Picture) -> bool:
        """Whether a message is to be sent: none was lately."""
        now_s = self._ctx.clock.monotonic()
        with self._lock:
            asked_s = self._asked_s.get((task_id, of))
            if asked_s is not None and now_s - asked_s < REPEAT_S:
                return False
            self._asked_s[task_id, of] = now_s
            if len(self._asked_s) > MOST_ASKED:
                self._asked_s.popitem(last=False)
            return True

    def _forget(self, task_id: str, of: Picture) -> None:
        with self._lock:
            self._asked_s.pop((task_id, of), None)

    def _has_ended(self, task_id: str, of: Picture) -> bool:
        if self._stored.find(task_id, of) or self._stored.why_not(task_id, of):
            return True
        with self._lock:
            asked_s = self._asked_s.get((task_id, of))
        return asked_s is None or self._ctx.clock.monotonic() - asked_s > REPEAT_S
