"""The order of the test files where several workers share them: those that wait for
servers lie between those that compute, the longest begin first, and those that share a
costly server go to one worker.
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
    "long/test_hostile.py",
    "long/test_stuck_worker.py",
    "long/test_unreadable.py",
    "long/test_broker_faults.py",
    "long/test_stack_again.py",
    "long/test_chaos.py",
    "long/test_two_releases.py",
    "long/test_openapi_at_random.py",
    "long/test_slow_store.py",
    "system/test_stack.py",
    "unit/gpu_worker/engines/test_onnx_engine.py",
    "system/test_servers.py",
    "unit/gpu_worker/engines/test_engine_torch.py",
    "system/test_main_job.py",
    "contract/test_broker.py",
    "system/test_offers.py",
    "unit/gpu_worker/steps/test_scene_steps.py",
    "contract/test_ceph.py",
    "system/test_liveness.py",
    "contract/test_authorisation.py",
    "system/test_readme_examples.py",
    "contract/test_webhooks.py",
    "contract/test_openapi.py",
    "unit/gpu_worker/engines/test_colorize_network.py",
)
"""Files of about a minute and more. One that began last would run alone."""


TOGETHER = {
    "a stack": (
        "system/test_stack.py",
        "system/test_api_main_job.py",
        "system/test_private_words.py",
    ),
    "a stack that sweeps often": (
        "system/test_main_job.py",
        "system/test_bad_input.py",
        "system/test_hostile_stack.py",
    ),
    "brokers": (
        "contract/test_broker.py",
        "contract/test_broker_bad_messages.py",
        "contract/test_broker_dead.py",
        "contract/test_broker_leases.py",
        "contract/test_fairness.py",
    ),
    "brokers that fail": (
        "long/test_broker_faults.py",
        "long/test_broker_half_open.py",
    ),
    "ceph": (
        "contract/test_ceph.py",
        "contract/test_listings.py",
        "contract/test_storage.py",
        "contract/test_storage_versions.py",
    ),
}
"""Files whose server is started once where one worker has them all."""


def unit(test_id: str) -> str:
    """What is given to one worker as a whole: a file, or those of a costly server."""
    file = test_id.partition("::")[0].removeprefix(f"{TESTS.name}/")
    return next((name for name, files in TOGETHER.items() if file in files), file)


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
