"""The order of the test files where several workers share them: those that wait for
servers lie between those that compute, and the longest begin first.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
WAITING = ("long", "system", "contract")
"""The folders whose tests wait more than they compute."""
LONGEST = (
    "long/test_stuck_worker.py",
    "long/test_hostile.py",
    "long/test_chaos.py",
    "long/test_two_releases.py",
    "long/test_unreadable.py",
    "system/test_stack.py",
    "system/test_servers.py",
    "system/test_liveness.py",
    "contract/test_broker_leaders.py",
    "system/test_offers.py",
    "system/test_refused_keys.py",
    "contract/test_broker_half_open.py",
    "contract/test_broker_faults.py",
    "contract/test_webhooks.py",
    "contract/test_openapi.py",
    "unit/gpu_worker/steps/test_scene_steps.py",
    "unit/gpu_worker/engines/test_colorize_network.py",
)
"""Files of about a minute and more. One that began last would run alone."""


def beside_each_other(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """All of `items`, each file's together and in their own order."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    in_turn = sorted(files, key=_rank)
    waiting = [path for path in in_turn if _folder(path) in WAITING]
    computing = [path for path in in_turn if _folder(path) not in WAITING]
    pairs = zip_longest(waiting, computing)
    ordered = [path for path in chain.from_iterable(pairs) if path]
    return list(chain.from_iterable(files[path] for path in ordered))


def _folder(path: Path) -> str:
    return path.relative_to(TESTS).parts[0]


def _rank(path: Path) -> tuple[int, int]:
    """The longest first, then folder by folder."""
    name = str(path.relative_to(TESTS))
    longest = LONGEST.index(name) if name in LONGEST else len(LONGEST)
    order = (*WAITING, _folder(path))
    return longest, order.index(_folder(path))
