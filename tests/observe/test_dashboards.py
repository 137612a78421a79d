"""Every query of the dashboards has data, where a Prometheus scrapes a stack that
restored photos, refused some, and failed on one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from shared.runtime.metrics import METRICS
from tests.conftest import darkroom
from tests.observe.prometheus import Prometheus, stand_in
from tests.support.waiting import eventually

DASHBOARDS = sorted(
    (Path(__file__).parents[2] / "infra/grafana/dashboards").glob("*.json")
)
QUERIES = [
    pytest.param(target["expr"], id=f"{file.stem}: {panel['title']} {target['refId']}")
    for file in DASHBOARDS
    for panel in json.loads(file.read_text())["panels"]
    for target in panel["targets"]
]


def photo(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def broken(path: Path) -> Path:
    """A photo whose head is right, so that only the worker notices."""
    data = bytearray(photo(path, 9).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("observe")
    state = folder / "state"
    assert darkroom("up", "--detach", state_dir=state).returncode == 0
    patch = pytest.MonkeyPatch()
    server, address = stand_in(patch)
    watching = None
    try:
        status = json.loads(darkroom("status", "--json", state_dir=state).stdout)
        targets = {
            process["name"]: process["figures"]
            for process in status["processes"]
            if process["figures"]
        }
        watching = Prometheus(folder, targets | {"stand-in": address})
        _use(folder, state, watching)
        yield watching
    finally:
        if watching:
            watching.stop()
        server.shutdown()
        server.server_close()
        patch.undo()
        darkroom("down", state_dir=state)


def _use(folder: Path, state: Path, watching: Prometheus) -> None:
    """Photos before and after a first scrape of what they change: only what grows is an
    increase.
    """
    junk = folder / "junk.jpg"
    junk.write_text("no photo")
    first = [photo(folder / "a.png", 1), broken(folder / "b.png"), junk]
    darkroom("submit", *map(str, first), "--wait", state_dir=state)
    eventually(
        lambda: watching.values('darkroom_photos_total{outcome="success"}'),
        "a scrape of the first photo",
        120,
    )
    darkroom("submit", str(photo(folder / "c.png", 2)), "--wait", state_dir=state)
    api = json.loads(darkroom("config", "--json", state_dir=state).stdout)
    url = next(row["value"] for row in api if row["name"] == "DARKROOM_API_URL")
    httpx.get(f"{url}/v1/tasks", headers={"Authorization": "Bearer wrong"})


@pytest.mark.parametrize("query", QUERIES)
def test_a_panel_has_data(prometheus: Prometheus, query: str) -> None:
    """A panel that shows nothing while all is well would show nothing in need."""
    eventually(lambda: prometheus.values(query), query, 60)


def test_a_stack_exposes_what_is_listed(prometheus: Prometheus) -> None:
    """Every name that was scraped stands in the list."""
    answer = httpx.get(f"{prometheus.url}/api/v1/label/__name__/values").json()
    names = {name for name in answer["data"] if name.startswith("darkroom_")}
    known = set(METRICS)
    for name in METRICS:
        known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    assert names - known == set()
    assert len(names & set(METRICS)) > 20


def test_no_alert_fires_on_a_stack_that_is_well(prometheus: Prometheus) -> None:
    """But for what was made to go wrong, the dead letter of the broken photo."""
    others = 'ALERTS{alertstate="firing",alertname!="DarkroomDeadLetters"}'
    assert prometheus.values(others) == []
