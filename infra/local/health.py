"""Whether what a stack consists of does its work, asked from outside."""

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
    """Part → what is wrong with it, or nothing. All are asked at once."""
    parts: dict[str, Callable[[Settings], str]] = {
        "object store": _store,
        "broker": _broker,
        "log database": _database,
        "API": _api,
    }
    with ThreadPoolExecutor(len(parts)) as pool:
        return dict(
            zip(parts, pool.map(lambda ask: ask(settings), parts.values()), strict=True)
        )


def _store(settings: StoreSettings) -> str:
    return (
        ""
        if reachable(settings)
        else f"{settings.s3_endpoint_url} does not answer, or not to our key"
    )


def _broker(settings: BrokerSettings) -> str:
    try:
        depth(settings)
    except BrokerUnavailable as error:
        return error.detail
    return ""


def _database(settings: AuditLogSettings) -> str:
    try:
        psycopg2.connect(
            settings.database_url.get_secret_value(), connect_timeout=3
        ).close()
    except psycopg2.Error as error:
        return type(error).__name__  # its text may hold the address
    return ""


def _api(settings: HttpSettings) -> str:
    try:
        answer = httpx.get(f"{settings.api_url}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return f"no answer: {type(error).__name__}"
    return (
        ""
        if answer.is_success
        else f"/readyz says {answer.status_code}: {answer.text[:200]}"
    )
