"""How full and how busy a worker's device is, measured when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from shared.runtime import devices
from shared.runtime.devices import Device
from shared.runtime.metrics import gauge_family

USED = "darkroom_device_memory_used_bytes"
TOTAL = "darkroom_device_memory_total_bytes"
UTILIZATION = "darkroom_device_utilization_ratio"


class DeviceLoad(Collector):
    """Gauges of `device`, labelled by its UUID. Where the driver does not answer there
    are none.
    """

    def __init__(self, device: Device) -> None:
        self._device = device

    def collect(self) -> Iterator[GaugeMetricFamily]:
        load = devices.load(self._device)
        if load is None:
            return
        yield self._gauge(USED, load.used_bytes)
        yield self._gauge(TOTAL, load.total_bytes)
        if load.utilization is not None:
            yield self._gauge(UTILIZATION, load.utilization)

    def _gauge(self, name: str, value: float) -> GaugeMetricFamily:
        return gauge_family(name, "device", {self._device.uuid: value})
