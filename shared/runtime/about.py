"""What a process says of itself at `/about`: what has to be the same everywhere for
two processes to decide the same about a photo.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from shared import __version__
from shared.models import registry
from shared.runtime.settings import ProcessSettings, Settings
from shared.workflows import PRESETS

OF_ONE_PROCESS = {
    "api_host",
    "api_port",
    "beat_timeout_s",
    "broker_url",
    "database_url",
    "failpoint",
    "log_format",
    "log_level",
    "metrics_host",
    "metrics_port",
    "ready_file",
    "scratch_dir",
    "state_dir",
}
"""Settings in which processes of one stack may differ."""
PRIVATE = ("photo_limits", "notice_url", "notice_mail_to", "notice_mail_from")
"""Settings that other users of the machine, who may ask at `/about`, are not told: an
address of a chat's webhook is its key, and limits name users.
"""


def about(settings: ProcessSettings) -> dict[str, Any]:
    """Release, workflow files, networks and settings of this process, without a secret.

    `stack` is a fingerprint of the pepper: two processes with different ones do not
    know each other's users.
    """
    said: dict[str, Any] = {"release": __version__, "workflows": workflow_files()}
    said["models"] = {model.name: model.sha256 for model in registry().values()}
    if isinstance(settings, Settings):
        said["settings"] = _settings(settings)
        if settings.pepper.get_secret_value():
            said["stack"] = fingerprint(settings)
    return said


def workflow_files() -> dict[str, str]:
    """Name → SHA-256 of each workflow file, as it lies here now."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(PRESETS.glob("*.json"))
    }


def fingerprint(settings: Settings) -> str:
    """16 hex digits that name the pepper, and do not say it."""
    pepper = settings.pepper.get_secret_value().encode()
    return hmac.new(pepper, b"darkroom.backup", hashlib.sha256).hexdigest()[:16]


def _settings(settings: Settings) -> dict[str, str]:
    """What was given and is no secret."""
    masked = settings.masked()
    return {
        name: masked[name]
        for name in sorted(settings.model_fields_set - OF_ONE_PROCESS - {*PRIVATE})
        if "***" not in masked[name]
        and not name.endswith(("_access_key", "_secret_key"))
    }
