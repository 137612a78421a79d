"""How many previews of one user are under way, so that looks ahead stay a small part of
the work.

A preview has no row in the log, by which photos that wait are counted. The bucket knows
its end, so this process remembers what it began, and asks the bucket about these once
the quota seems full.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from handlers.http.auth.buckets import MOST

Ended = Callable[[], bool]
"""Whether one preview has a record, a reason why it has none, or was deleted. Raises
`StorageUnavailable`.
"""


class Looks:
    """In the memory of this process, and thread-safe."""

    def __init__(self, quota: int) -> None:
        self.quota = quota
        self._lock = threading.Lock()
        self._users: OrderedDict[str, dict[str, Ended]] = OrderedDict()

    def admits(self, user_hash: str, task_id: str, ended: Ended) -> bool:
        """May this user have this preview made now? If so, it is counted until it has
        ended.

        A preview that is under way already may be asked for again.
        """
        with self._lock:
            begun = self._users.setdefault(user_hash, {})
            self._users.move_to_end(user_hash)
            if len(self._users) > MOST:
                self._users.popitem(last=False)
            full = len(begun) >= self.quota and task_id not in begun
            asked = list(begun.items()) if full else []
        gone = [one for one, has_ended in asked if has_ended()]
        with self._lock:
            for one in gone:
                begun.pop(one, None)
            if len(begun) >= self.quota and task_id not in begun:
                return False
            begun.setdefault(task_id, ended)
            return True

    def forget(self, user_hash: str, task_id: str, ended: Ended) -> None:
        """The preview was not begun after all; one that was under way already, with
        another `ended`, still is.
        """
        with self._lock:
            begun = self._users.get(user_hash, {})
            if begun.get(task_id) is ended:
                del begun[task_id]
