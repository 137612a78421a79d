"""`darkroom keys …`: who may use the API. The running servers read the keys' documents
in their bucket.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Any, get_args

import typer

from infra.commands.options import JsonOption
from infra.commands.require_stack import need_servers
from infra.terminal import shown
from shared import access
from shared.access import ApiKey, Scope
from shared.callback_guard import check_url
from shared.errors import Code, NotFound, PermanentError, SettingsError
from shared.runtime.settings import StoreSettings, WebhookSettings
from shared.s3.store import S3Store
from shared.uploads import identity
from shared.uploads import keys as places

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Who may use the API."
)
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@app.command()
def create(
    user: Annotated[
        str,
        typer.Option(
            help="Whose key: any name of yours. Only its pseudonym is stored."
        ),
    ],
    scopes: Annotated[
        str, typer.Option(help=f"Any of {', '.join(get_args(Scope))}.")
    ] = ",".join(access.USUAL),
    expires: Annotated[
        str, typer.Option(help="After how long: 12h, 90d, 52w; or never.")
    ] = "365d",
    callback: Annotated[
        str, typer.Option(help="URL of the webhook of uploads that name none.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """A new key. It is shown this once: only its hash is kept."""
    settings = need_servers()
    pepper = settings.pepper.get_secret_value()
    if not pepper:
        raise SettingsError(
            "DARKROOM_PEPPER is empty: the key must know its user by the same secret as the handlers"
        )
    user_hash = identity.user_hash(_user(user), pepper.encode())
    url = _callback(callback, settings) if callback else None
    store = S3Store(settings)
    now = _time(store, settings)
    expires_at = _expiry(expires, now)
    key, document = access.mint(user_hash, _scopes(scopes), now, expires_at, url)
    store.put_new(
        settings.bucket_access,
        access.place(document.id),
        document.to_bytes(),
        "application/json",
    )
    if as_json:
        print(json.dumps({"key": key} | _shown(document), indent=2))
        return
    print(key)
    print(
        "This is the only time that it is shown.", file=typer.get_text_stream("stderr")
    )


@app.command("list")
def list_keys(as_json: JsonOption = False) -> None:
    """Every key there is, the newest last: ids and users' pseudonyms, no key."""
    settings = need_servers()
    store = S3Store(settings)
    found = [
        ApiKey.from_bytes(store.read(info.bucket, info.key), info.key)
        for info in store.list(settings.bucket_access, access.PREFIX)
    ]
    keys = [_shown(key) for key in sorted(found, key=lambda key: key.created_at)]
    if as_json:
        print(json.dumps(keys, indent=2))
        return
    for key in keys:
        state = f"until {key['expires_at'] or 'revoked'}"
        if key["revoked_at"]:
            state = "revoked"
        print(shown(key["id"]), shown(key["user_hash"]), ",".join(key["scopes"]), state)


@app.command()
def revoke(
    key_id: Annotated[
        str, typer.Argument(help="The key's id, as `darkroom keys list` shows it.")
    ],
) -> None:
    """Revoke a key; servers refuse it within DARKROOM_API_KEY_CACHE_S. Revoking it
    twice changes nothing.
    """
    if not access.is_id(key_id):
        raise SettingsError(
            f"{key_id!r}: an id has 16 hexadecimal digits; `darkroom keys list` shows them"
        )
    settings = need_servers()
    store, place = S3Store(settings), access.place(key_id)
    try:
        key = ApiKey.from_bytes(store.read(settings.bucket_access, place), place)
    except NotFound as error:
        raise NotFound(
            Code.SOURCE_MISSING, f"no key {key_id}; `darkroom keys list` shows them"
        ) from error
    if key.revoked_at is None:
        key = key.model_copy(update={"revoked_at": store.clock.now()})
        store.put(settings.bucket_access, place, key.to_bytes(), "application/json")
    print(
        f"{key_id} is revoked; servers refuse it within {settings.api_key_cache_s:g} s"
    )


def _time(store: S3Store, settings: StoreSettings) -> datetime:
    """The store's time, as the servers use it: any response corrects the clock."""
    with suppress(NotFound):
        store.head(settings.bucket_access, places.SWEEP)
    return store.clock.now()


def _shown(key: ApiKey) -> dict[str, Any]:
    """What may be seen of a key."""
    names = (
        "id",
        "user_hash",
        "scopes",
        "created_at",
        "expires_at",
        "revoked_at",
        "callback",
    )
    shown: dict[str, Any] = key.model_dump(mode="json", include=set(names))
    return {name: shown[name] for name in names}


def _user(text: str) -> str:
    if not text.strip():
        raise SettingsError("--user is empty")
    return text


def _callback(url: str, settings: WebhookSettings) -> str:
    try:
        check_url(url, settings)
    except PermanentError as error:
        raise SettingsError(f"--callback: {error.detail}") from error
    return url


def _scopes(text: str) -> tuple[Scope, ...]:
    words = {word for word in re.split(r"[\s,]+", text) if word}
    known: tuple[Scope, ...] = get_args(Scope)
    if not words or not words <= set(known):
        raise SettingsError(f"--scopes {text!r}: by commas, any of {', '.join(known)}")
    return tuple(scope for scope in known if scope in words)


def _expiry(text: str, now: datetime) -> datetime | None:
    if text == "never":
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if not match:
        raise SettingsError(
            f"--expires {text!r}: a number and h, d or w, such as 90d; or never"
        )
    unit = UNITS[match[2]]
    return now + timedelta(**{unit: int(match[1])})
