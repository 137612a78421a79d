"""Limits the previews of one user that are under way, so that previews stay a small
part of the work.

A preview has no row in the audit log, by which queued photos are counted. So this
process remembers the previews that it began, and asks the bucket which of them have
ended once the quota seems full.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

HasEnded = Callable[[], bool]
"""Whether one preview has a record, a reason, or was deleted. Raises
`StorageUnavailable`.
"""
MOST_USERS = 20_000
"""Users remembered; the one longest unseen is forgotten."""


class PreviewLimit:
    """In the memory of this process, and thread-safe."""

    def __init__(self, quota: int) -> None:
        self.quota = quota
        self._lock = threading.Lock()
        self._users: OrderedDict[str, dict[str, HasEnded]] = OrderedDict()

    def admits(
        self,
        user_hash: str,
        task_id: str,
        has_ended: HasEnded,
    ) -> bool:
        """Whether this preview may be made now. If so, it is counted until it has
        ended.

        A preview that is under way already may be requested again.
        """
        with self._lock:
            previews = self._previews_of(user_hash)
            seems_full = self._is_full(previews, task_id)
            candidates = list(previews.items()) if seems_full else []
        # Without the lock: each candidate takes a request to the store.
        ended = [candidate for candidate, ended in candidates if ended()]
        with self._lock:
            for candidate in ended:
                previews.pop(candidate, None)
            if self._is_full(previews, task_id):
                return False
            previews.setdefault(task_id, has_ended)
            return True

    def forget(
        self,
        user_hash: str,
        task_id: str,
        has_ended: HasEnded,
    ) -> None:
        """Take back `admits` for a preview that was not begun after all.

        One that was under way before, with another `has_ended`, stays counted.
        """
        with self._lock:
            previews = self._users.get(user_hash, {})
            if previews.get(task_id) is has_ended:
                del previews[task_id]

    def _previews_of(self, user_hash: str) -> dict[str, HasEnded]:
        previews = self._users.setdefault(user_hash, {})
        self._users.move_to_end(user_hash)
        if len(self._users) > MOST_USERS:
            self._users.popitem(last=False)
        return previews

    def _is_full(
        self,
        previews: dict[str, HasEnded],
        task_id: str,
    ) -> bool:
        return len(previews) >= self.quota and task_id not in previews
