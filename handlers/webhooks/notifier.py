"""Tells the administrator: by a signed webhook, by mail, and always in the log."""

from __future__ import annotations

import smtplib
import threading
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from handlers.webhooks.mail import Mailer
from handlers.webhooks.sender import Sender
from shared.errors import DarkroomError, SettingsError
from shared.notices import Notice
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import Settings
from shared.runtime.telemetry import logger
from shared.s3.clock import Clock
from shared.uploads.identity import canonical_json

SUCCESS = range(200, 300)
DEFAULT_PORTS = {"http": 80, "https": 443}
RETRY = RetryPolicy(base_s=2.0, cap_s=10.0, max_attempts=3)

Post = Callable[[str, str, bytes], int]
"""URL, `webhook-id` and body → HTTP status; raises `DarkroomError`."""


class Notifier:
    """Of each kind of notice, at most one in `notice_pause_s` is told; the next one says
    how many were left out. Thread-safe.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        post: Post | None = None,
        mailer: Mailer | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._post = post or _sender(settings, clock)
        self._mailer = mailer or Mailer.of(settings)
        self._told_s: dict[str, float] = {}
        self._left_out = Counter[str]()
        self._lock = threading.Lock()

    def tell(self, notice: Notice) -> None:
        """Tell it, unless one of its kind was told a moment ago.

        Who cannot be reached after a few tries is left out: a notice holds up nobody's
        webhook for long.
        """
        logger().warning("notice.raised", kind=notice.notice, detail=notice.detail)
        left_out = self._admit(notice.notice)
        if left_out is None:
            return
        if self._post is not None:
            self._try(notice, "webhook", lambda: self._call(notice, left_out))
        if self._mailer is not None:
            self._try(notice, "mail", lambda: self._mail(notice, left_out))

    def _admit(self, kind: str) -> int | None:
        """How many of its kind were left out before this one; None: it is, too."""
        now_s = self._clock.monotonic()
        with self._lock:
            told_s = self._told_s.get(kind)
            pause_s = self._settings.notice_pause_s
            if told_s is not None and now_s - told_s < pause_s:
                self._left_out[kind] += 1
                return None
            self._told_s[kind] = now_s
            return self._left_out.pop(kind, 0)

    def _try(self, notice: Notice, way: str, send: Callable[[], None]) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                send()
            except (DarkroomError, OSError, smtplib.SMTPException) as error:
                delay_s = RETRY.delay_s(attempt)
                detail = _words(error)
                if delay_s is None:
                    logger().error(
                        "notice.failed", kind=notice.notice, way=way, detail=detail
                    )
                    return
                self._clock.sleep(delay_s)
            else:
                logger().info("notice.told", kind=notice.notice, way=way)
                return

    def _call(self, notice: Notice, left_out: int) -> None:
        assert self._post is not None
        data = {
            "kind": notice.notice,
            "detail": notice.detail,
            "left_out": left_out,
        }
        body = canonical_json(
            {
                "type": f"admin.{notice.notice}",
                "timestamp": notice.at.isoformat(),
                "data": data,
            }
        )
        # The same notice that comes twice has the same id.
        ident = str(uuid5(NAMESPACE_URL, f"{notice.notice} {notice.at.isoformat()}"))
        status = self._post(self._settings.notice_url, ident, body)
        if status not in SUCCESS:
            raise OSError(f"HTTP {status}")

    def _mail(self, notice: Notice, left_out: int) -> None:
        assert self._mailer is not None
        more = f"\n{left_out} more of this kind came before it.\n" if left_out else ""
        text = f"{notice.detail}\n\nAt {notice.at.isoformat()}.\n{more}"
        self._mailer.send(f"Darkroom: {notice.notice.replace('_', ' ')}", text)


def _words(error: Exception) -> str:
    """What may be logged of an error: a mail server's own words may quote secrets."""
    if isinstance(error, smtplib.SMTPException):
        return type(error).__name__
    return str(error)


def _sender(settings: Settings, clock: Clock) -> Post | None:
    """Sends to the administrator's address alone, wherever that is: its owner, and no
    user, chose it. None without one. Raises `SettingsError`.
    """
    if not settings.notice_url:
        return None
    parts = urlsplit(settings.notice_url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        detail = "DARKROOM_NOTICE_URL is no http:// or https:// address"
        raise SettingsError(detail)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    own = settings.model_copy(
        update={
            "callback_http": True,
            "callback_ports": str(port),
            "callback_allow": parts.hostname,
        }
    )
    return Sender(own, clock)
