"""The one sentence of all commands that need a stack, or servers that the environment
names, where there is neither.
"""

from __future__ import annotations

from infra.commands.no_stack import no_stack
from shared.runtime.settings import Settings

SERVERS = {"s3_endpoint_url", "s3_access_key", "broker_url", "database_url", "pepper"}


def need_servers() -> Settings:
    """All settings. Raises `SettingsError` where no stack runs and the environment
    names no server either.
    """
    settings = Settings.load()
    if not settings.model_fields_set & SERVERS:
        raise no_stack(
            settings.state_dir,
            ", or name servers of yours by DARKROOM_S3_…, DARKROOM_BROKER_URL and so on",
        )
    return settings
