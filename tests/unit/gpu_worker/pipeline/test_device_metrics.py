"""The gauges of a worker's device, as Prometheus reads them."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gpu_worker.pipeline.device_metrics import DeviceLoad
from shared.runtime import devices
from shared.runtime.devices import Device, Load

CARD = Device("GPU-1", "card")


@pytest.mark.parametrize(
    ("load", "values"),
    [
        (
            Load(5, 8, 0.25),
            {
                "memory_used_bytes": 5,
                "memory_total_bytes": 8,
                "utilization_ratio": 0.25,
            },
        ),
        (Load(5, 8, None), {"memory_used_bytes": 5, "memory_total_bytes": 8}),
        (None, {}),
    ],
)
def test_a_device_is_measured_when_somebody_asks(
    monkeypatch: pytest.MonkeyPatch, load: Load | None, values: dict[str, float]
) -> None:
    """What the driver does not say is left out."""
    registry = CollectorRegistry()
    registry.register(DeviceLoad(CARD))
    monkeypatch.setattr(devices, "load", lambda device: load)
    text = generate_latest(registry).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples == [
        f'darkroom_device_{name}{{device="GPU-1"}} {float(value)}'
        for name, value in values.items()
    ]
