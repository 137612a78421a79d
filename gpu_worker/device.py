"""The device of this process: one worker a device, and never two on one unasked.

A worker sees its device alone, so that whatever computes (torch, the official code, a
process of a bench) computes there.
"""

from __future__ import annotations

import socket

from shared.errors import SettingsError
from shared.runtime import devices, environment
from shared.runtime.devices import Device
from shared.runtime.settings import EngineSettings

_held: list[socket.socket] = []
"""What holds the device of this process, until its end."""


def take(settings: EngineSettings) -> Device | None:
    """The first free of the devices that `settings.device` names, this process's own
    from now on; None: networks run on the CPU, or on a device that NVML does not list.

    Raises `SettingsError` for a device that is not there, or that another worker has.
    """
    found = _named(settings)
    for device in found:
        if _hold(device):
            environment.show_devices(device.uuid)
            return device
    if found:
        names = ", ".join(f"{device.name} ({device.uuid})" for device in found)
        raise SettingsError(
            f"DARKROOM_DEVICE={settings.device}: another worker has {names}, and a device has one worker; "
            "start fewer workers, or set DARKROOM_DEVICE=cpu for this one"
        )
    return None


def show(settings: EngineSettings) -> None:
    """Let this process see what `settings.device` names, whoever else computes there.

    Raises `SettingsError` for a device that is not there.
    """
    found = _named(settings)
    if found and settings.device != "auto":
        environment.show_devices(found[0].uuid)


def _named(settings: EngineSettings) -> list[Device]:
    found = devices.usable(settings)
    if settings.device == "cpu":
        environment.show_devices("")
    elif ":" in settings.device and not found:
        count = len(devices.visible())
        raise SettingsError(
            f"DARKROOM_DEVICE={settings.device}: the engine {settings.engine} sees no such device; {count} are visible "
            "here, counted from cuda:0. Name one of these, or set DARKROOM_DEVICE=auto"
        )
    return found


def _hold(device: Device) -> bool:
    """Whether the device is this process's now. The kernel ends the hold with the
    process, however that ends.

    An address without a file is known to the whole machine, but for containers with a
    network of their own: these are given a device each.
    """
    hold = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        hold.bind(f"\0darkroom-device-{device.uuid}")
    except OSError:
        hold.close()
        return False
    _held.append(hold)
    return True
