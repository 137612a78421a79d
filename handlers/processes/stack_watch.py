"""Looks for trouble that no event tells of: dead letters, and full disks of the machine
that the callbacks process runs on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from shared.broker.depth import depth
from shared.broker.topology import dead_queue
from shared.errors import BrokerUnavailable
from shared.notices import Publisher, tell
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger

LOOK_S = 30.0
LEAST_FREE = 0.1
"""Part of a disk that should be free."""


class StackWatch:
    """Tells of dead letters whenever there are more than at the last look, and of a
    disk once, until it has room again.
    """

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        depths: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        self._publisher = publisher
        self._depths = depths or (lambda: depth(settings))
        self._folders = {"state": settings.state_dir, "scratch": settings.scratch_dir}
        self._dead: dict[str, int] = {}
        self._full: set[str] = set()

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        while not stop.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:
                logger().error("notice.unseen", exc_info=error)

    def look(self) -> None:
        """Look once."""
        for name, path in self._folders.items():
            self._look_at_disk(name, path)
        try:
            depths = self._depths()
        except BrokerUnavailable:
            return
        for queue, messages in depths.items():
            if not queue.endswith(dead_queue("")):
                continue
            if messages > self._dead.get(queue, 0):
                detail = f"dead letters in {queue}: {messages}; `darkroom dead list` has their reasons"
                tell(self._publisher, "dead_letters", detail)
            self._dead[queue] = messages

    def _look_at_disk(self, name: str, path: Path) -> None:
        try:
            disk = os.statvfs(path)
        except OSError:
            return
        free = disk.f_bavail / max(1, disk.f_blocks)
        if free >= LEAST_FREE:
            self._full.discard(name)
        elif name not in self._full:
            self._full.add(name)
            tell(
                self._publisher,
                "disk",
                f"the disk of the {name} folder has {free:.0%} left",
            )
