"""What an administrator is told, when, and how."""

from __future__ import annotations

import json
import socketserver
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import digest
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from handlers.processes.stack_watch import StackWatch
from handlers.processes.upload_watch import UploadWatch
from handlers.webhooks.notifier import Notifier
from shared.errors import SettingsError
from shared.notices import Kind, Notice, notice_in, tell
from shared.runtime.settings import Settings
from shared.uploads.messages import CallbackDue, LogEvent
from tests.support.fake_clock import FakeClock
from tests.support.memory_publisher import MemoryPublisher
from tests.support.receivers import Receiver

KEY = b"k" * 32
SECRET = SecretStr(f"whsec_{b64encode(KEY).decode()}")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def event(kind: str, code: str = "", at: datetime = NOW) -> bytes:
    fields = {"error_code": code} if code else {}
    return LogEvent(
        event_id=str(uuid4()),
        upload_id=str(uuid4()),
        upload_time=at,
        kind=kind,  # type: ignore[arg-type]
        at=at,
        fields=fields,
    ).encode()


def told(publisher: MemoryPublisher) -> list[tuple[str, str]]:
    notices = [notice_in(body) for body in publisher.bodies("darkroom.callbacks")]
    return [(found.notice, found.detail) for found in notices if found]


def notice(kind: Kind = "disk") -> Notice:
    return Notice(notice=kind, detail="the disk is full", at=NOW)


def test_failures_in_a_row_are_told_once() -> None:
    """A success ends the row; what a user took back, and old news, is none."""
    publisher = MemoryPublisher()
    watch = UploadWatch(Settings(notice_failures=3), publisher)
    failed = event("failed", "internal")
    old = event("failed", "internal", NOW - timedelta(hours=1))
    watch.look([failed, failed, event("failed", "cancelled"), old, b"junk"], NOW)
    watch.look([event("success"), failed, failed], NOW)
    assert told(publisher) == []
    watch.look([failed, failed, failed], NOW)
    assert told(publisher) == [
        ("failures", "photos that failed in a row: 3, the last one by internal")
    ]


def test_a_burst_is_told_once_however_the_uploads_came() -> None:
    """Rejected ones count, too. After a quiet minute the next burst is another one."""
    publisher = MemoryPublisher()
    watch = UploadWatch(Settings(notice_uploads_per_min=10), publisher)
    kinds = ("queued", "rejected", "duplicate")
    for second in range(20):
        at = NOW + timedelta(seconds=second)
        watch.look([event(kinds[second % 3], at=at)], at)
    assert [kind for kind, _ in told(publisher)] == ["burst"]
    later = NOW + timedelta(minutes=3)
    watch.look([], later)
    watch.look([event("queued", at=later)] * 10, later)
    assert [kind for kind, _ in told(publisher)] == ["burst", "burst"]


def test_dead_letters_and_full_disks_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time there are more; a disk once, until it has room again."""
    publisher, depths = MemoryPublisher(), {"darkroom.log.dead": 0, "darkroom.log": 9}
    settings = Settings(state_dir=tmp_path, scratch_dir=tmp_path / "none")
    watch = StackWatch(settings, publisher, lambda: depths)
    watch.look()
    assert told(publisher) == []
    depths["darkroom.log.dead"] = 2
    watch.look()
    watch.look()
    assert [kind for kind, _ in told(publisher)] == ["dead_letters"]

    class Full:
        f_bavail, f_blocks = 5, 100

    monkeypatch.setattr("os.statvfs", lambda path: Full)
    watch.look()
    watch.look()
    disk = [detail for kind, detail in told(publisher) if kind == "disk"]
    assert sorted(disk) == [
        "the disk of the scratch folder has 5% left",
        "the disk of the state folder has 5% left",
    ]


def test_a_request_for_a_webhook_is_no_notice() -> None:
    """Both lie in one queue."""
    assert notice_in(CallbackDue(upload_id="x").encode()) is None
    publisher = MemoryPublisher()
    tell(publisher, "backup", "x" * 5000)
    [body] = publisher.bodies("darkroom.callbacks")
    found = notice_in(body)
    assert found
    assert len(found.detail) == 500


def answer_ok(handler: BaseHTTPRequestHandler, number: int) -> None:
    handler.send_response(204)
    handler.end_headers()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(
        lambda handler, _: (handler.send_response(204), handler.end_headers())
    )  # type: ignore[arg-type,return-value]
    yield made
    made.close()


def test_a_notice_is_a_signed_call(receiver: Receiver, clock: FakeClock) -> None:
    """To a private address by http, too: the administrator chose it. Repetitions wait,
    and are counted.
    """
    settings = Settings(webhook_secret=SECRET, notice_url=receiver.url)
    notifier = Notifier(settings, clock)
    for _ in range(3):
        notifier.tell(notice())
    notifier.tell(notice("backup"))
    clock.advance(settings.notice_pause_s + 1)
    notifier.tell(notice())
    calls = receiver.received
    bodies = [json.loads(call.body) for call in calls]
    assert [(body["type"], body["data"]["left_out"]) for body in bodies] == [
        ("admin.disk", 0),
        ("admin.backup", 0),
        ("admin.disk", 2),
    ]
    headers = calls[0].headers
    content = b".".join(
        (
            headers["webhook-id"].encode(),
            headers["webhook-timestamp"].encode(),
            calls[0].body,
        )
    )
    signature = headers["webhook-signature"].removeprefix("v1,")
    assert b64decode(signature) == digest(KEY, content, sha256)


def test_an_administrator_who_cannot_be_reached_holds_nothing_up(
    clock: FakeClock,
) -> None:
    """A few tries, then the log has it, without the address."""
    settings = Settings(
        webhook_secret=SECRET, notice_url="http://127.0.0.1:1/x?token=secret"
    )
    with capture_logs() as logs:
        Notifier(settings, clock).tell(notice())
    assert [line["event"] for line in logs] == ["notice.raised", "notice.failed"]
    assert "secret" not in str(logs)


class MailServer(socketserver.ThreadingTCPServer):
    """As much of an SMTP server as one mail needs."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[str] = []
        self.said: list[str] = []


class _Session(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        self._say("220 stand-in")
        while line := self.rfile.readline().decode().strip():
            verb = line.upper()[:4]
            self.server.said.append(line)
            if verb == "DATA":
                self._say("354 go on")
                lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                self.server.mails.append("".join(lines))
            self._say("221 bye" if verb == "QUIT" else "250 ok")
            if verb == "QUIT":
                return

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def mails_by(server: MailServer, login: str = "") -> Settings:
    url = f"smtp://{login}127.0.0.1:{server.server_address[1]}"
    return Settings(
        notice_mail_to="a@example.org, b@example.org",
        notice_mail_from="darkroom@example.org",
        notice_smtp_url=SecretStr(url),
    )


def test_a_notice_comes_by_mail(mail_server: MailServer, clock: FakeClock) -> None:
    """To everybody named."""
    Notifier(mails_by(mail_server), clock).tell(notice("dead_letters"))
    [mail] = mail_server.mails
    assert "Subject: Darkroom: dead letters" in mail
    assert "the disk is full" in mail
    assert "To: a@example.org, b@example.org" in mail


def test_a_password_is_not_sent_in_clear(
    mail_server: MailServer, clock: FakeClock
) -> None:
    """The server offers no TLS, so that there is no mail, and no password in the log."""
    with capture_logs() as logs:
        Notifier(mails_by(mail_server, "user:hunter2@"), clock).tell(notice())
    assert mail_server.mails == []
    assert "notice.failed" in [line["event"] for line in logs]
    assert "hunter2" not in f"{logs} {mail_server.said}"
    assert not [line for line in mail_server.said if line.startswith("AUTH")]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"notice_url": "ftp://host/x"}, "DARKROOM_NOTICE_URL"),
        ({"notice_mail_to": "a@b"}, "DARKROOM_NOTICE_SMTP_URL"),
        (
            {"notice_mail_to": "a@b", "notice_smtp_url": SecretStr("smtp://h")},
            "DARKROOM_NOTICE_MAIL_FROM",
        ),
    ],
)
def test_half_a_way_is_refused_at_the_start(
    clock: FakeClock, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        Notifier(Settings(webhook_secret=SECRET, **given), clock)
