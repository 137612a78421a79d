"""The command line in tests: how it is run, and what a running stack would tell it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

STACK = {
    "S3_ENDPOINT_URL": "http://127.0.0.1:1",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "the-s3-secret",
    "BROKER_URL": "redis://:the-broker-secret@127.0.0.1:1/0",
    "API_URL": "http://127.0.0.1:1",
    "DATABASE_URL": "postgresql://darkroom:the-database-secret@127.0.0.1:1/darkroom",
    "API_KEY": 'it\'s $HOME; "quoted" `x` and spaced',
    "PEPPER": "the-pepper",
    "WEBHOOK_TOKEN": "the-token",
}


def printed_by(*command: object, folder: Path) -> str:
    """What a program that must succeed prints, when it is run in a folder."""
    given = [str(part) for part in command]
    done = subprocess.run(
        given, capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Outcome]
