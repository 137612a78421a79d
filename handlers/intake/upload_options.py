"""What an uploader requested: object metadata first, then the key, then the defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any, cast
from urllib.parse import unquote

from pydantic_core import from_json

from shared import workflows
from shared.broker.topology import Priority, lane_of
from shared.callback_guard import check_url
from shared.errors import Code, PermanentError
from shared.runtime.settings import (
    AccessSettings,
    Settings,
    UploadSettings,
    WebhookSettings,
)
from shared.uploads import formats, identity, ingests, told_captions
from shared.uploads import limits as photo_limits
from shared.uploads.documents import IngestRef
from shared.uploads.formats import Format
from shared.uploads.photo_files import MOST_PAGES

MAX_VALUE_CHARS = 2048
"""S3 takes no more metadata altogether; other stores do, and what is longer is not read
at all.
"""
MAX_PARAMS_BYTES = 2048
MAX_FILENAME_CHARS = 255

NO_CALLBACK = "none"
"""Value of a signed upload without a webhook: a field that is missing could be added by
its sender.
"""

_OWNED = re.compile(r"users/([0-9a-f]{64})/")
_CHOSEN = re.compile(r"incoming/([^/]+)/.")
_CHARSET = re.compile(r"utf-?8|us-ascii|iso-8859-\d{1,2}|windows-125\d", re.IGNORECASE)
"""What SDKs and browsers write. Python knows codecs beside these that are no charsets,
slow, or make no text.
"""

NO_INGEST = "none"
"""The same of a signed upload that is of no job."""

READ = frozenset(
    [
        *("workflow", "params", "user", "priority", "callback", "filename"),
        *("formats", "page", "ingest", "start", "limits"),
    ]
)
"""Metadata that a ticket's signature covers, whoever sends the upload."""


@dataclass(frozen=True)
class Order:
    priority: Priority
    workflow: workflows.ResolvedWorkflow
    formats: list[Format]
    page: int
    start: bool
    """Whether it is restored as soon as it has come."""


def user_hash(key: str, metadata: Mapping[str, str], settings: AccessSettings) -> str:
    """Whose upload it is: `user` of the metadata, or the pseudonym in
    `users/{user_hash}/…`, or `anonymous`.

    A signed upload names that pseudonym in its metadata, too, so that its sender cannot
    name another user there.
    """
    user = _value(metadata, "user")
    if (owned := _OWNED.match(key)) and user in ("", owned[1]):
        return owned[1]
    return identity.user_hash(
        user or identity.ANONYMOUS, settings.pepper.get_secret_value().encode()
    )


def limits(
    metadata: Mapping[str, str], user: str, of_job: bool, settings: Settings
) -> Settings:
    """The settings with the limits of this upload: what its ticket allowed, else those
    of its user and of jobs. `user`: the pseudonym.
    """
    allowed = photo_limits.as_told(settings, user, _value(metadata, "limits"))
    return allowed or photo_limits.limits_of(settings, user, of_job)


def lane(user: str, settings: AccessSettings) -> int:
    """The lane in which this user's photos wait; `user`: the pseudonym."""
    anonymous = identity.user_hash(
        identity.ANONYMOUS, settings.pepper.get_secret_value().encode()
    )
    return 0 if user == anonymous else lane_of(user)


def order(key: str, metadata: Mapping[str, str], settings: UploadSettings) -> Order:
    """Raises `PermanentError`: `bad_metadata`, `unknown_workflow`, `bad_parameter`,
    each with the rule.
    """
    for given, value in metadata.items():
        if given.lower() in READ and len(value) > MAX_VALUE_CHARS:
            detail = f"{given.lower()} has {len(value)} characters; object metadata may have {MAX_VALUE_CHARS}"
            raise PermanentError(Code.BAD_METADATA, detail)
    priority = _value(metadata, "priority") or "bulk"
    if priority not in ("interactive", "bulk"):
        raise PermanentError(
            Code.BAD_METADATA,
            f"priority={priority[:80]!r} is neither 'interactive' nor 'bulk'",
        )
    chosen = _CHOSEN.match(key)
    name = _value(metadata, "workflow") or (
        chosen[1] if chosen else settings.default_workflow
    )
    params = _params(_value(metadata, "params"))
    resolved = workflows.asked(name[:80], params, settings.usual_params)
    wanted = formats.parse(_value(metadata, "formats") or settings.formats)
    page = _page(_value(metadata, "page"))
    start = _start(_value(metadata, "start"))
    return Order(cast(Priority, priority), resolved, wanted, page, start)


def callback(metadata: Mapping[str, str], settings: WebhookSettings) -> str | None:
    """Whom to call at the end. Raises `PermanentError(bad_parameter)` for where no call
    may go.
    """
    # As it is: percent-escapes belong to the URL.
    url = next(
        (
            value.strip()
            for name, value in metadata.items()
            if name.lower() == "callback"
        ),
        "",
    )
    if url in ("", NO_CALLBACK):
        return None
    check_url(url, settings)
    return url


def filename(metadata: Mapping[str, str]) -> str | None:
    """Return the photo's true name, where the sender gave one beside a plain key."""
    return _value(metadata, "filename")[:MAX_FILENAME_CHARS] or None


def captions(key: str, metadata: Mapping[str, str]) -> dict[str, str] | None:
    """Return what was told of the photo beside its file, None where nothing was, or by
    ticket: its signature does not cover this. Raises `PermanentError(bad_metadata)`.
    """
    if _OWNED.match(key):
        return None
    return told_captions.parse(_value(metadata, "captions"))


def ingest(metadata: Mapping[str, str]) -> IngestRef | None:
    """Which item of a job of an album or archive the upload is, where it names one."""
    return ingests.ref_of(_value(metadata, "ingest"))


def _page(text: str) -> int:
    if not text:
        return 1
    if not re.fullmatch(r"[1-9]\d{0,3}", text, re.ASCII):
        detail = f"page={text[:80]!r} is no number from 1 to {MOST_PAGES}"
        raise PermanentError(Code.BAD_METADATA, detail)
    return int(text)


def _start(text: str) -> bool:
    if text not in ("", "true", "false"):
        detail = f"start={text[:80]!r} is neither 'true' nor 'false'"
        raise PermanentError(Code.BAD_METADATA, detail)
    return text != "false"


def _params(text: str) -> dict[str, Any]:
    if not text:
        return {}
    params, fault = None, f"more than {MAX_PARAMS_BYTES} bytes"
    if len(text.encode()) <= MAX_PARAMS_BYTES:
        try:
            params, fault = from_json(text, allow_inf_nan=False), "not an object"
        except ValueError as error:
            fault = str(error)
    if not isinstance(params, dict):
        raise PermanentError(
            Code.BAD_METADATA,
            f'params must be a JSON object such as {{"scale": 2}}, not: {fault}',
        )
    return params


def _value(metadata: Mapping[str, str], name: str) -> str:
    """One value as its sender meant it; servers differ in the case of names."""
    for given, value in metadata.items():
        if given.lower() == name:
            return decoded(value).strip()
    return ""


def decoded(value: str) -> str:
    """Text of a header, which is ASCII on the wire: percent-escapes, S3's own RFC 2047
    words, or bare UTF-8.

    A literal percent sign is therefore written `%25`, as SDKs and browsers do. The text
    can always be written as UTF-8; what is too long, or in a charset that is not read
    here, stays as it came.
    """
    if len(value) <= MAX_VALUE_CHARS:
        with suppress(UnicodeError):  # else it was decoded before, or is Latin-1 indeed
            value = value.encode("latin-1").decode()
        if "=?" in value:
            # else it only looks like such a word
            with suppress(HeaderParseError, LookupError, ValueError):
                value = _of_words(value)
        value = unquote(value)
    return value.encode("utf-8", "replace").decode()


def _of_words(value: str) -> str:
    words = decode_header(value)
    known = all(charset is None or _CHARSET.fullmatch(charset) for _, charset in words)
    return str(make_header(words)) if known else value
