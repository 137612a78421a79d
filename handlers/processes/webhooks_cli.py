"""`darkroom webhooks test URL` and `darkroom webhooks secret --user U`, run by the
callbacks' own program.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from handlers.context import Context
from handlers.on_finished import GONE, SUCCESS, Send
from handlers.webhooks.call_log import Ledger
from handlers.webhooks.payload import sample
from handlers.webhooks.signing import secret_of
from shared.errors import DarkroomError, SettingsError
from shared.uploads import identity


def run(arguments: Sequence[str], ctx: Context, ledger: Ledger, send: Send) -> int:
    """The exit status. Raises `SettingsError`."""
    options = _parser().parse_args(arguments)
    if options.verb == "secret":
        return _secret(options, ctx)
    return _test(options, ctx, ledger, send)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("darkroom webhooks")
    verbs = parser.add_subparsers(dest="verb", required=True)
    test = verbs.add_parser("test", help="send a signed sample")
    test.add_argument("url")
    secret = verbs.add_parser(
        "secret", help="the secret by which a user's own servers verify calls"
    )
    secret.add_argument(
        "--user",
        required=True,
        help="the name that `darkroom keys create --user` was given",
    )
    for verb in (test, secret):
        verb.add_argument(
            "--json", action="store_true", help="print nothing but one JSON object"
        )
    return parser


def _secret(options: argparse.Namespace, ctx: Context) -> int:
    pepper = ctx.settings.pepper.get_secret_value()
    if not pepper:
        raise SettingsError(
            "DARKROOM_PEPPER is empty: the secret must know its user as the handlers do"
        )
    if not options.user.strip():
        raise SettingsError("--user is empty")
    secret = secret_of(ctx.settings, identity.user_hash(options.user, pepper.encode()))
    print(json.dumps({"secret": secret}) if options.json else secret)
    return 0


def _test(options: argparse.Namespace, ctx: Context, ledger: Ledger, send: Send) -> int:
    """One signed sample. An address that was switched off by a 410 is called again from
    now on, if it answers well.
    """
    ident, status, detail = str(uuid4()), None, None
    try:
        status = send(
            options.url, ident, sample(ctx.settings.api_url, ctx.clock.now()), None
        )
    except DarkroomError as error:
        detail = error.detail
    well = status in SUCCESS
    if well:
        ledger.switch_on(options.url)
    told: dict[str, Any] = {
        "url": options.url,
        "webhook_id": ident,
        "status": status,
        "ok": well,
        "detail": detail,
    }
    if options.json:
        print(json.dumps(told))
    else:
        gone = " (it wants no more calls)" if status == GONE else ""
        print(
            f"{'delivered' if well else 'not delivered'}: {detail or f'HTTP {status}{gone}'}, webhook-id {ident}"
        )
    return 0 if well else 1
