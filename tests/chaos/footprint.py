"""How memory and open files of each process move while everything around it breaks."""

from __future__ import annotations

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.local.state import Pids
from tests.chaos.remains import SERVERS

EVERY_S = 2.0
WARM_S = 180.0
"""At first a process loads what it needs, and a worker's buffers grow with its largest
photo: that is no leak.
"""
LONG_S = 240.0
"""Shorter looks say nothing of a slope."""
MIB = 1 << 20
MOST_MIB_PER_MIN = 1.0
MOST_FILES = 8


@dataclass(frozen=True)
class Sample:
    at_s: float
    rss: int
    files: int


@dataclass(frozen=True)
class Life:
    """One process between its warming-up and its end: medians of the first and the last
    quarter of that time.

    `slope`: of its memory [MiB/min], by least squares.
    """

    name: str
    pid: int
    seconds: float
    first: Sample
    last: Sample
    slope: float

    def __str__(self) -> str:
        return (
            f"{self.name:12} {self.seconds:6.0f} s  rss {self.first.rss / MIB:6.1f} -> {self.last.rss / MIB:6.1f} MiB "
            f"({self.slope:+.2f} MiB/min)  fds {self.first.files} -> {self.last.files}"
        )

    @property
    def ours(self) -> bool:
        """The servers answer for themselves."""
        return not self.name.startswith(SERVERS)

    @property
    def grows(self) -> bool:
        return (
            self.slope > MOST_MIB_PER_MIN
            or self.last.files > self.first.files + MOST_FILES
        )


class Footprint:
    """Looks at every process of a stack, its children included, again and again."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)

    @contextmanager
    def taken(self, folder: Path) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._look, args=(folder, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def lives(self) -> list[Life]:
        """Of those that were looked at for long enough."""
        found = []
        for (name, pid), samples in sorted(self._samples.items()):
            warm = [
                sample for sample in samples if sample.at_s > samples[0].at_s + WARM_S
            ]
            if warm and (seconds := warm[-1].at_s - warm[0].at_s) >= LONG_S:
                line = statistics.linear_regression(
                    [s.at_s / 60 for s in warm], [s.rss / MIB for s in warm]
                )
                found.append(
                    Life(
                        name,
                        pid,
                        seconds,
                        _median(warm[: len(warm) // 4]),
                        _median(warm[-len(warm) // 4 :]),
                        line.slope,
                    )
                )
        return found

    def _look(self, folder: Path, ended: threading.Event) -> None:
        while not ended.wait(EVERY_S):
            for name, process in Pids(folder).alive().items():
                with suppress(psutil.Error):
                    self._samples[name, process.pid].append(
                        _sample(process, with_children=name != "supervisor")
                    )


def _median(samples: list[Sample]) -> Sample:
    rss, files = (
        int(statistics.median(values))
        for values in zip(*((s.rss, s.files) for s in samples), strict=True)
    )
    return Sample(samples[len(samples) // 2].at_s, rss, files)


def _sample(process: psutil.Process, with_children: bool) -> Sample:
    family = [process, *(process.children(recursive=True) if with_children else [])]
    rss = files = 0
    for each in family:
        with suppress(psutil.NoSuchProcess):
            rss, files = rss + each.memory_info().rss, files + each.num_fds()
    return Sample(time.monotonic(), rss, files)
