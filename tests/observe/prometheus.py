"""A real Prometheus that scrapes a real stack, and stand-ins for what this machine has
not: a GPU, and a backup.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, MetricsHandler

from gpu_worker.pipeline.device_metrics import DeviceLoad
from shared.runtime import devices
from shared.runtime.metrics import gauge, histogram

RULES = Path(__file__).parents[2] / "infra/prometheus/rules.yml"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Prometheus:
    """Scrapes `targets` (name of the process → address) each second."""

    def __init__(self, folder: Path, targets: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        configs = [
            {
                "targets": [address.removeprefix("http://")],
                "labels": {"process": name},
            }
            for name, address in targets.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "darkroom", "static_configs": configs}],
        }
        file = folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        self._log = (folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def values(self, query: str) -> list[float]:
        """The values of a query at this moment, without those that are not numbers.

        Raises where Prometheus refuses the query.
        """
        try:
            answer = httpx.get(
                f"{self.url}/api/v1/query", params={"query": query}, timeout=30
            )
        except httpx.TransportError:
            return []  # it starts
        found: dict[str, Any] = json.loads(answer.text)
        assert found["status"] == "success", (query, found)
        values = [float(series["value"][1]) for series in found["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)
        self._log.close()


def stand_in(patch: pytest.MonkeyPatch) -> tuple[ThreadingHTTPServer, str]:
    """Figures of a GPU and of a backup, made up, in the form in which workers and the
    backup expose theirs; the server and its address.
    """
    registry = CollectorRegistry()
    load = devices.Load(6 << 30, 24 << 30, 0.5)
    patch.setattr(devices, "load", lambda _device: load)
    registry.register(DeviceLoad(devices.Device("GPU-stand-in", "stand-in")))
    peak = histogram(
        "darkroom_photo_device_peak_bytes", [1 << 30, 1 << 32], registry=registry
    )
    backup = gauge("darkroom_backup_last_success_timestamp_seconds", registry=registry)

    def live() -> None:
        while True:
            peak.observe(2 << 30)
            backup.set(time.time())
            time.sleep(0.5)

    threading.Thread(target=live, daemon=True).start()
    handler = MetricsHandler.factory(registry)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"
