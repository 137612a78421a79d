"""Checks the parts of a stack from outside."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg2

from infra.bootstrap import reachable
from shared.broker.depth import depth
from shared.errors import BrokerUnavailable
from shared.runtime.settings import (
    AuditLogSettings,
    BrokerSettings,
    HttpSettings,
    Settings,
    StoreSettings,
)


def faults(settings: Settings) -> dict[str, str]:
    """Part → what is wrong with it; empty if nothing is. All are checked at once."""
    parts: dict[str, Callable[[Settings], str]] = {
        "object store": _store,
        "broker": _broker,
        "log database": _database,
        "API": _api,
    }
    with ThreadPoolExecutor(len(parts)) as pool:
        checks = {part: pool.submit(check, settings) for part, check in parts.items()}
    return {part: check.result() for part, check in checks.items()}


def _store(settings: StoreSettings) -> str:
    if reachable(settings):
        return ""
    return f"{settings.s3_endpoint_url} does not answer, or not to our key"


def _broker(settings: BrokerSettings) -> str:
    try:
        depth(settings)
    except BrokerUnavailable as error:
        return error.detail
    return ""


def _database(settings: AuditLogSettings) -> str:
    url = settings.database_url.get_secret_value()
    try:
        psycopg2.connect(url, connect_timeout=3).close()
    except psycopg2.Error as error:
        # Without its text, which may contain the address.
        return type(error).__name__
    return ""


def _api(settings: HttpSettings) -> str:
    try:
        response = httpx.get(f"{settings.api_url}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return f"no answer: {type(error).__name__}"
    if response.is_success:
        return ""
    return f"/readyz says {response.status_code}: {response.text[:200]}"
