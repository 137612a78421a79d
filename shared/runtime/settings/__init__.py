"""Settings, one file for each concern; `Settings` is all of them."""

from shared.runtime.settings.access import AccessSettings
from shared.runtime.settings.audit_log import AuditLogSettings
from shared.runtime.settings.backup import BackupSettings
from shared.runtime.settings.base import PREFIX
from shared.runtime.settings.broker import BrokerSettings
from shared.runtime.settings.codec import CodecSettings, CopySettings, LabelSettings
from shared.runtime.settings.credentials import CredentialSettings
from shared.runtime.settings.engine import (
    EngineSettings,
    ModelSettings,
    ScratchSettings,
)
from shared.runtime.settings.http import HttpSettings
from shared.runtime.settings.limits import (
    PhotoLimit,
    PhotoLimitSettings,
    RateLimitSettings,
)
from shared.runtime.settings.notices import NoticeSettings
from shared.runtime.settings.process import ProcessSettings, StackSettings
from shared.runtime.settings.settings import STACK_FILE, Settings, variable
from shared.runtime.settings.store import RegionSettings, StoreSettings
from shared.runtime.settings.sweep import SweepSettings
from shared.runtime.settings.unknown import unknown_variables
from shared.runtime.settings.uploads import UploadSettings
from shared.runtime.settings.webhooks import WebhookSettings
from shared.runtime.settings.worker import AttemptSettings, WorkerSettings

__all__ = [
    "PREFIX",
    "STACK_FILE",
    "AccessSettings",
    "AttemptSettings",
    "AuditLogSettings",
    "BackupSettings",
    "BrokerSettings",
    "CodecSettings",
    "CopySettings",
    "CredentialSettings",
    "EngineSettings",
    "HttpSettings",
    "LabelSettings",
    "ModelSettings",
    "NoticeSettings",
    "PhotoLimit",
    "PhotoLimitSettings",
    "ProcessSettings",
    "RateLimitSettings",
    "RegionSettings",
    "ScratchSettings",
    "Settings",
    "StackSettings",
    "StoreSettings",
    "SweepSettings",
    "UploadSettings",
    "WebhookSettings",
    "WorkerSettings",
    "unknown_variables",
    "variable",
]
