"""Notices by mail."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

from shared.errors import SettingsError
from shared.runtime.settings import NoticeSettings

PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class Mailer:
    """Sends through one server. A password never travels without TLS."""

    host: str
    port: int
    scheme: str
    user: str
    password: str
    sender: str
    receivers: tuple[str, ...]
    timeout_s: float

    @classmethod
    def of(cls, settings: NoticeSettings) -> Mailer | None:
        """The mailer that the settings name; None for none. Raises `SettingsError`."""
        to = settings.notice_mail_to
        receivers = tuple(name.strip() for name in to.split(",") if name.strip())
        if not receivers:
            return None
        parts = urlsplit(settings.notice_smtp_url.get_secret_value())
        if parts.scheme not in PORTS or not parts.hostname:
            raise SettingsError(
                "DARKROOM_NOTICE_SMTP_URL: mails need smtp://host or smtps://host, with DARKROOM_NOTICE_MAIL_TO"
            )
        if not settings.notice_mail_from:
            raise SettingsError(
                "DARKROOM_NOTICE_MAIL_FROM is empty: mails need a sender"
            )
        return cls(
            parts.hostname,
            parts.port or PORTS[parts.scheme],
            parts.scheme,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            settings.notice_mail_from,
            receivers,
            settings.callback_timeout_s,
        )

    def send(self, subject: str, text: str) -> None:
        """Raises `OSError` and `smtplib.SMTPException`."""
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = self.sender
        message["To"] = ", ".join(self.receivers)
        message.set_content(text)
        context = ssl.create_default_context()
        with self._server(context) as server:
            server.ehlo()
            if self.scheme == "smtp" and (self.user or server.has_extn("starttls")):
                # With a password and without TLS this fails, and so it should.
                server.starttls(context=context)
            if self.user:
                server.login(self.user, self.password)
            server.send_message(message)

    def _server(self, context: ssl.SSLContext) -> smtplib.SMTP:
        timeout_s = self.timeout_s
        if self.scheme == "smtps":
            return smtplib.SMTP_SSL(
                self.host, self.port, timeout=timeout_s, context=context
            )
        return smtplib.SMTP(self.host, self.port, timeout=timeout_s)
