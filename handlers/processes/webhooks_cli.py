"""The commands `darkroom webhooks test URL` and `darkroom webhooks secret --user U`,
which the callbacks program runs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import uuid4

from handlers.context import Context
from handlers.on_finished import GONE, SUCCESS, Send
from handlers.webhooks.call_log import CallLog
from handlers.webhooks.payload import sample
from handlers.webhooks.signing import secret_of
from shared.errors import DarkroomError, SettingsError
from shared.uploads import identity


@dataclass(frozen=True)
class TestResult:
    """What `darkroom webhooks test` reports; `status` is None without an answer."""

    url: str
    webhook_id: str
    status: int | None
    ok: bool
    detail: str | None

    def sentence(self) -> str:
        verdict = "delivered" if self.ok else "not delivered"
        return f"{verdict}: {self._why()}, webhook-id {self.webhook_id}"

    def _why(self) -> str:
        if self.detail:
            return self.detail
        gone = " (it wants no more calls)" if self.status == GONE else ""
        return f"HTTP {self.status}{gone}"


def run(arguments: Sequence[str], ctx: Context, call_log: CallLog, send: Send) -> int:
    """Run one command; return its exit status. Raises `SettingsError`."""
    options = _parser().parse_args(arguments)
    if options.verb == "secret":
        return _secret(options, ctx)
    return _test(options, ctx, call_log, send)


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
    user_hash = identity.user_hash(options.user, pepper.encode())
    secret = secret_of(ctx.settings, user_hash)
    print(json.dumps({"secret": secret}) if options.json else secret)
    return 0


def _test(
    options: argparse.Namespace,
    ctx: Context,
    call_log: CallLog,
    send: Send,
) -> int:
    """Send one signed sample. A 2xx answer enables a URL that a 410 had disabled."""
    result = _send_sample(options.url, ctx, send)
    if result.ok:
        call_log.enable(options.url)
    print(json.dumps(asdict(result)) if options.json else result.sentence())
    return 0 if result.ok else 1


def _send_sample(url: str, ctx: Context, send: Send) -> TestResult:
    webhook_id = str(uuid4())
    body = sample(ctx.settings.api_url, ctx.clock.now())
    try:
        status = send(url, webhook_id, body, None)
    except DarkroomError as error:
        return TestResult(url, webhook_id, None, ok=False, detail=error.detail)
    return TestResult(url, webhook_id, status, ok=status in SUCCESS, detail=None)
