"""The key that may do everything on the embedded object store: for buckets that a test
makes, and for looking on.
"""

from __future__ import annotations

import json

from pydantic import SecretStr

from shared.runtime.settings import Settings


def as_admin(settings: Settings) -> Settings:
    """The settings of an embedded stack, with its administrator's key, also for
    tickets: in buckets of any name.
    """
    secrets = json.loads((settings.state_dir / "state.json").read_text())["secrets"]
    if "s3_admin" not in secrets:
        return settings
    keys = {
        "s3_access_key": SecretStr("darkroom-admin"),
        "s3_secret_key": SecretStr(secrets["s3_admin"]),
    }
    none = dict.fromkeys(
        ("s3_ticket_access_key", "s3_ticket_secret_key"), SecretStr("")
    )
    return settings.model_copy(update=keys | none)
