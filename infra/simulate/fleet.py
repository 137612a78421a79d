"""The simulation: photos arrive, wait, and are restored by workers that come and go as
KEDA's rule wants them.

What it leaves out: lanes (photos are taken in the order of their arrival), and whatever
else the store, the broker and the network may be short of.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

HOUR_S = 3600.0
SYNC_S = 15.0
"""How often the autoscaler of pods decides."""
PODS_AT_ONCE = 4
"""It adds so many pods at most in that time, or doubles them, whichever is more."""
TOLERANCE = 0.1
"""It leaves the number alone while it is right to within this share."""


@dataclass(frozen=True)
class Photo:
    """One photo: when it arrives (seconds from the beginning), and for how long a worker
    has to do with it. None: the fleet's own time.
    """

    at_s: float
    service_s: float | None = None


@dataclass(frozen=True)
class Fleet:
    """The workers and their rule. `service_s`: what a photo takes, on average;
    `service_spread`: its standard deviation over that (log-normal). `overhead_s`: from
    the upload until a free worker begins. `prefetch`: photos that a worker has in hand.
    The rest as in the chart's `scaling`, and `spot_per_h`: how often an hour a worker is
    taken away, with `notice_s` to finish.
    """

    service_s: float
    service_spread: float = 0.0
    overhead_s: float = 0.1
    start_s: float = 120.0
    minimum: int = 0
    maximum: int = 8
    photos_per_worker: int = 30
    polling_s: float = 15.0
    cooldown_s: float = 300.0
    scale_in_s: float = 300.0
    prefetch: int = 3
    spot_per_h: float = 0.0
    notice_s: float = 120.0
    price_per_h: float = 1.0


@dataclass
class Run:
    """What came of it. `waits_s`: from each photo's arrival until the work on it began,
    in the order of arrival; `history`: time, workers, photos that wait, at each change
    of the number of workers and each look of the rule.
    """

    waits_s: list[float]
    worker_s: float = 0.0
    busy_s: float = 0.0
    end_s: float = 0.0
    interruptions: int = 0
    history: list[tuple[float, int, int]] = field(default_factory=list)


class _Worker:
    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.hand: deque[int] = deque()
        self.is_ready = False
        self.leaves_at_s: float | None = None
        self.is_gone = False


class _Simulation:
    def __init__(self, photos: Sequence[Photo], fleet: Fleet, seed: int) -> None:
        self._photos = photos
        self._fleet = fleet
        self._random = random.Random(seed)  # noqa: S311 - a simulation
        self._now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._queue: deque[int] = deque()
        self._workers: list[_Worker] = []
        self._wanted: deque[tuple[float, int]] = deque()
        self._active_s = -math.inf
        self._left = len(photos)
        self.run = Run([0.0] * len(photos))

    def simulate(self) -> Run:
        for number, photo in enumerate(self._photos):
            self._at(photo.at_s + self._fleet.overhead_s, partial(self._arrive, number))
        for _ in range(self._fleet.minimum):
            self._ready(self._begin(0.0))
        self._at(0.0, self._look)
        while self._events and self._left:
            self._now_s, _, happen = heapq.heappop(self._events)
            happen()
        self.run.end_s = self._now_s
        for worker in self._workers:
            self.run.worker_s += self._now_s - worker.since_s
        return self.run

    def _at(self, at_s: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), happen))

    # --- photos ---

    def _arrive(self, number: int) -> None:
        self._queue.append(number)
        self._hand_out()

    def _hand_out(self) -> None:
        """A message goes to any worker with room, not to the idlest one."""
        while self._queue:
            able = [worker for worker in self._workers if self._has_room(worker)]
            if not able:
                return
            worker = self._random.choice(able)
            worker.hand.append(self._queue.popleft())
            if len(worker.hand) == 1:
                self._work(worker)

    def _has_room(self, worker: _Worker) -> bool:
        is_here = worker.is_ready and worker.leaves_at_s is None
        return is_here and len(worker.hand) < self._fleet.prefetch

    def _work(self, worker: _Worker) -> None:
        number = worker.hand[0]
        seconds = self._seconds(self._photos[number])
        self.run.waits_s[number] = self._now_s - self._photos[number].at_s
        self._at(self._now_s + seconds, lambda: self._finish(worker, seconds))

    def _seconds(self, photo: Photo) -> float:
        mean_s = photo.service_s or self._fleet.service_s
        spread = self._fleet.service_spread
        if not spread or photo.service_s:
            return mean_s
        sigma = math.sqrt(math.log1p(spread**2))
        return mean_s * self._random.lognormvariate(-(sigma**2) / 2, sigma)

    def _finish(self, worker: _Worker, seconds: float) -> None:
        if worker.is_gone:
            return
        worker.hand.popleft()
        self.run.busy_s += seconds
        self._left -= 1
        if worker.leaves_at_s is not None:
            self._give_back(worker)
        elif worker.hand:
            self._work(worker)
        self._hand_out()

    # --- workers ---

    def _begin(self, start_s: float) -> _Worker:
        worker = _Worker(self._now_s)
        self._workers.append(worker)
        if start_s:
            self._at(self._now_s + start_s, lambda: self._ready(worker))
        self._note()
        return worker

    def _ready(self, worker: _Worker) -> None:
        if worker.is_gone:
            return
        worker.is_ready = True
        if self._fleet.spot_per_h:
            life_s = self._random.expovariate(self._fleet.spot_per_h / HOUR_S)
            self._at(self._now_s + life_s, lambda: self._interrupt(worker))
        self._hand_out()

    def _interrupt(self, worker: _Worker) -> None:
        if worker.is_gone or worker.leaves_at_s is not None:
            return
        self.run.interruptions += 1
        self._leave(worker)
        # Its place is filled at once.
        self._begin(self._fleet.start_s)

    def _leave(self, worker: _Worker) -> None:
        """It finishes the photo in work if the time is enough, and begins no other."""
        worker.leaves_at_s = self._now_s + self._fleet.notice_s
        if not worker.hand:
            self._give_back(worker)
            return
        self._at(worker.leaves_at_s, lambda: self._give_back(worker))
        in_work = worker.hand.popleft()
        self._queue.extendleft(reversed(worker.hand))
        worker.hand = deque([in_work])
        self._hand_out()

    def _give_back(self, worker: _Worker) -> None:
        """What it has goes to others, and it is gone."""
        if worker.is_gone:
            return
        worker.is_gone = True
        self._queue.extendleft(reversed(worker.hand))
        self._workers.remove(worker)
        self.run.worker_s += self._now_s - worker.since_s
        self._note()
        self._hand_out()

    def _note(self) -> None:
        self.run.history.append((self._now_s, len(self._workers), len(self._queue)))

    # --- the rule ---

    def _look(self) -> None:
        fleet = self._fleet
        waiting = len(self._queue)
        if waiting:
            self._active_s = self._now_s
        staying = [one for one in self._workers if one.leaves_at_s is None]
        wanted = self._desired(waiting, len(staying))
        for _ in range(wanted - len(staying)):
            self._begin(fleet.start_s)
        for worker in staying[wanted:][::-1]:
            self._leave(worker)
        self._note()
        self._at(self._now_s + min(SYNC_S, fleet.polling_s), self._look)

    def _desired(self, waiting: int, now: int) -> int:
        """How many workers there should be, by KEDA between none and one, by the
        autoscaler above that.
        """
        fleet = self._fleet
        if now == 0:
            return max(1 if waiting else 0, fleet.minimum)
        share = waiting / fleet.photos_per_worker
        wanted = now if abs(share / now - 1) <= TOLERANCE else math.ceil(share)
        wanted = min(wanted, now + max(PODS_AT_ONCE, now), fleet.maximum)
        self._wanted.append((self._now_s, wanted))
        while self._wanted[0][0] < self._now_s - fleet.scale_in_s:
            self._wanted.popleft()
        if wanted < now:
            wanted = min(now, max(recent for _, recent in self._wanted))
        is_cold = self._now_s - self._active_s > fleet.cooldown_s
        least = 0 if is_cold and fleet.minimum == 0 else 1
        return max(wanted, least, fleet.minimum)


def simulate(photos: Iterable[Photo], fleet: Fleet, seed: int = 1) -> Run:
    """Let `photos` (in any order) go through `fleet`. The same seed gives the same run."""
    ordered = sorted(photos, key=lambda photo: photo.at_s)
    return _Simulation(ordered, fleet, seed).simulate()
