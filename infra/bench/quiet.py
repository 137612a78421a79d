"""A bench's processes make their log lines as ever, and write them nowhere: the table
is all that is printed.
"""

from __future__ import annotations

import structlog

from shared.runtime import telemetry
from shared.runtime.settings import Settings


def quiet(settings: Settings) -> None:
    telemetry.configure(settings.model_copy(update={"log_format": "json"}), "bench")
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
