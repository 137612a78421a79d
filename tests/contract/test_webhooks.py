"""Callbacks on the real store and broker, made by their process: never lost, and over
once that is written down.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_sweep import Memory, on_sweep
from handlers.on_upload import on_upload
from handlers.webhooks.call_log import CallLog, CallResult
from handlers.webhooks.fair_queue import MAX_PER_HOST
from shared.broker import topology
from shared.broker.dead_letters import letters, retry
from shared.broker.depth import backlog
from shared.broker.transports import connected
from shared.errors import Code
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads import keys
from shared.uploads.messages import CallbackDue
from tests.support.admin import as_admin
from tests.support.brokers import dead_port
from tests.support.databases import corner
from tests.support.receivers import Counter, Receiver, huge, status, statuses, trickling
from tests.support.stores import drop_bucket
from tests.support.waiting import eventually

TIMEOUT_S = 3.0
"""Of a call. Receivers are threads of this process: on a busy machine their answers may
take a second.
"""
SECRETS = ("whsec_" + "ab" * 24, "whsec_" + "cd" * 24)


class Office:
    """A corner of the servers, receivers on loopback ports, and the process that calls
    them.
    """

    def __init__(self, servers: Any, stack: ExitStack) -> None:
        mark = uuid4().hex[:8]
        names = {
            f"bucket_{name}": f"{name}-{mark}"
            for name in ("uploads", "results", "quarantine", "archive")
        }
        own: dict[str, Any] = {
            "pepper": "p",
            "default_workflow": "fast",
            "lease_s": 5.0,
            "broker_url": corner(servers.settings),
            "webhook_secret": " ".join(SECRETS),
            "callback_http": True,
            "callback_allow": "127.0.0.1",
            "callback_timeout_s": TIMEOUT_S,
            "callback_retry_s": "0.2 0.2",
            "api_url": "https://photos.example.com",
        }
        self._given = Settings.model_validate(
            as_admin(servers.settings).model_dump(exclude_none=True) | names | own
        )
        self._stack, self._ports, self._processes = (
            stack,
            {443},
            list[subprocess.Popen[bytes]](),
        )
        self.ctx = Context.of(self._given)
        self._buckets = names.values()
        for name in self._buckets:
            self.ctx.store.client.create_bucket(Bucket=name)  # type: ignore[attr-defined]
        self.call_log = CallLog(self.ctx.store, self._given.bucket_results, TIMEOUT_S)

    def receiver(self, habit: Any) -> Receiver:
        """Before `start`: its port becomes one that may be called."""
        receiver = Receiver(habit)
        self._stack.callback(receiver.close)
        self._allow(receiver.port)
        return receiver

    def _allow(self, port: int) -> None:
        self._ports.add(port)
        settings = self._given.model_copy(
            update={"callback_ports": " ".join(map(str, sorted(self._ports)))}
        )
        self.ctx = Context(settings, self.ctx.store, self.ctx.publisher, self.ctx.clock)

    def nobody(self) -> str:
        """A URL where nobody listens."""
        port = self._stack.enter_context(dead_port())
        self._allow(port)
        return f"http://127.0.0.1:{port}/"

    def start(self, **more: str) -> subprocess.Popen[bytes]:
        values = self.ctx.settings.variables() | {
            f"DARKROOM_{name.upper()}": value for name, value in more.items()
        }
        values["DARKROOM_CALLBACK_PORTS"] = self.ctx.settings.callback_ports
        command = [sys.executable, "-m", "handlers", "callbacks"]
        process = subprocess.Popen(
            command, env=os.environ | values, stderr=subprocess.DEVNULL
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.ctx.publisher.close()  # type: ignore[attr-defined]
        store = S3Store(self._given)
        for name in self._buckets:  # the store has room for a few hundred
            drop_bucket(store, name)

    def ended(self, url: str, user: str = "ann") -> str:
        """An upload whose end, a rejection, the handler tells at once; its id."""
        bucket, key = self.ctx.settings.bucket_uploads, f"{uuid4().hex}.txt"
        self.ctx.store.put(
            bucket,
            key,
            b"no photo " + key.encode(),
            "image/png",
            {"callback": url, "user": user},
        )
        decision = on_upload(UploadEvent(bucket, key, "create"), self.ctx)
        assert decision.kind == "rejected"
        assert decision.code == Code.UNSUPPORTED_FORMAT
        assert decision.upload_id
        return decision.upload_id

    def result(self, upload_id: str) -> CallResult:
        result: CallResult = eventually(
            lambda: self.call_log.result(upload_id), f"the end of {upload_id}", 120
        )
        return result

    def idle(self) -> bool:
        return sum(backlog(self.ctx.settings)[topology.CALLBACKS]) == 0


def postponed(office: Office, upload_id: str) -> bool:
    """Whether the first try was made, failed, and that is written down."""
    note = office.ctx.store.read(
        office.ctx.settings.bucket_results, keys.callback_due(upload_id, 1)
    )
    return bool(json.loads(note)["state"] == "waiting")


@pytest.fixture
def office(servers: Any) -> Iterator[Office]:
    with ExitStack() as stack:
        office = Office(servers, stack)
        stack.callback(office.close)
        yield office


def test_a_receiver_can_verify_what_it_gets(office: Office) -> None:
    """By the independent library, with the old secret and with the new one; not with
    another, not when changed.
    """
    receiver = office.receiver(status(204))
    office.start()
    upload_id = office.ended(receiver.url)
    assert office.result(upload_id).outcome == "delivered"
    (got,) = receiver.received
    for secret in SECRETS:
        message = Webhook(secret).verify(got.body, got.headers)
        assert message["data"]["upload_id"] == upload_id
    for secret, body in (
        ("whsec_" + "ef" * 24, got.body),
        (SECRETS[0], got.body.replace(b"rejected", b"success")),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, got.headers)
    assert got.path == "/hook?a=%2F"
    assert got.headers["content-type"] == "application/json"


def test_a_users_own_secret_is_good_for_this_users_calls_only(office: Office) -> None:
    """Who verifies with the secret that the command tells takes no call that another
    user could have forged.
    """
    receiver = office.receiver(status(204))
    office.start()
    uploads = {user: office.ended(receiver.url, user) for user in ("ann", "bob")}
    assert {office.result(upload_id).outcome for upload_id in uploads.values()} == {
        "delivered"
    }
    command = [sys.executable, "-m", "infra.cli", "webhooks", "secret", "--user"]
    values = os.environ | office.ctx.settings.variables()
    result = {
        user: subprocess.run(
            [*command, user], env=values, capture_output=True, text=True, timeout=300
        )
        for user in uploads
    }
    verified = set()
    for got in receiver.received:
        for user, done in result.items():
            with suppress(WebhookVerificationError):
                message = Webhook(done.stdout.strip()).verify(got.body, got.headers)
                verified.add((user, message["data"]["upload_id"]))
    assert verified == set(uploads.items())


def test_bad_receivers_hurt_nobody(office: Office) -> None:
    """Down, slow, redirecting, gone, failing, endless: each ends as it must, and the
    good one is called at once.
    """
    elsewhere = Counter()
    receivers = {
        "redirect": office.receiver(
            status(302, Location=f"http://127.0.0.1:{elsewhere.port}/")
        ),
        "slow": office.receiver(trickling),
        "gone": office.receiver(status(410)),
        "failing": office.receiver(status(500)),
        "endless": office.receiver(huge),
        "recovering": office.receiver(statuses(503, 204)),
        "good": office.receiver(status(200)),
    }
    urls = {name: receiver.url for name, receiver in receivers.items()} | {
        "down": office.nobody()
    }
    office.start()
    slow = [office.ended(urls["slow"]) for _ in range(4)]
    uploads = {name: office.ended(url) for name, url in urls.items()}
    assert office.result(uploads["good"]).attempts == 1
    held = sum(office.call_log.result(upload_id) is None for upload_id in slow)
    print(
        f"FAULT=F32 slow calls not over when the good one was sent: {held} of {len(slow)}"
    )
    assert held > 0
    result = {name: office.result(upload_id) for name, upload_id in uploads.items()}
    for name, end in result.items():
        print(
            f"FAULT=F32 {name}: {end.outcome} after {end.attempts}, {end.status or end.detail}"
        )
    assert {name: (end.outcome, end.attempts) for name, end in result.items()} == {
        "redirect": ("given_up", 3),
        "slow": ("given_up", 3),
        "gone": ("disabled", 1),
        "failing": ("given_up", 3),
        "endless": ("delivered", 1),
        "recovering": ("delivered", 2),
        "good": ("delivered", 1),
        "down": ("given_up", 3),
    }
    assert elsewhere.connects == 0
    elsewhere.close()
    for receiver in receivers.values():
        by_upload: dict[str, set[str]] = {}
        for got in receiver.received:
            by_upload.setdefault(json.loads(got.body)["data"]["upload_id"], set()).add(
                got.headers["webhook-id"]
            )
        assert all(len(idents) == 1 for idents in by_upload.values())
    dead = {
        json.loads(letter.body)["upload_id"]: letter
        for letter in letters(office.ctx.settings)
        if letter.queue == topology.CALLBACKS
    }
    for name in ("redirect", "slow", "failing", "down"):
        assert dead[uploads[name]].code == Code.ATTEMPTS_EXHAUSTED


def test_a_crash_between_call_and_note_loses_nothing(office: Office) -> None:
    """The receiver has it, nobody wrote that down, the process is killed: it is called
    once more, with the same id.
    """
    receiver = office.receiver(status(204))
    upload_id = office.ended(receiver.url)
    assert office.start(failpoint="callbacks.after_call:1").wait(120) == -signal.SIGKILL
    assert len(receiver.received) == 1
    assert office.call_log.result(upload_id) is None
    office.start()
    result = office.result(upload_id)
    assert (result.outcome, result.attempts) == ("delivered", 2)
    # The message comes again, too: what was told stays told.
    office.ctx.publisher.publish(
        topology.CALLBACKS, CallbackDue(upload_id=upload_id).encode()
    )
    eventually(office.idle, "the message is taken")
    eventually(lambda: not list(office.call_log.pending()), "nothing is due")
    idents = [got.headers["webhook-id"] for got in receiver.received]
    print(
        f"FAULT=F32 kill -9 between call and note: calls={len(idents)} ids={len(set(idents))} lost=0"
    )
    assert len(idents) == 2
    assert len(set(idents)) == 1


def test_kills_at_any_moment_lose_nothing(office: Office) -> None:
    """Every end is sent at least once; what comes twice was in a dead process's hands,
    and has the same id.
    """
    seed, kills, receiver = 7, 5, office.receiver(statuses(503, 204, 204, 500, 204))
    moments = random.Random(seed)
    uploads = []
    for _ in range(kills):
        before = len(receiver.received)
        process = office.start()
        uploads += [office.ended(receiver.url) for _ in range(8)]
        eventually(
            lambda before=before: len(receiver.received) > before,
            "a call of this process",
        )
        time.sleep(0.1 * moments.random())
        process.kill()
        process.wait()
    office.start()
    assert {office.result(upload_id).outcome for upload_id in uploads} == {"delivered"}
    eventually(lambda: not list(office.call_log.pending()), "nothing is due")
    idents: dict[str, set[str]] = {upload_id: set() for upload_id in uploads}
    for got in receiver.received:
        idents[json.loads(got.body)["data"]["upload_id"]].add(got.headers["webhook-id"])
    assert {len(found) for found in idents.values()} == {1}
    counts = f"uploads={len(uploads)} sent={len(idents)} calls={len(receiver.received)} lost=0"
    print(f"FAULT=F32 seed={seed} kills={kills} {counts}")
    # Two of the answers were failures; each kill can repeat what was in hand.
    assert len(receiver.received) <= len(uploads) + 2 + kills * MAX_PER_HOST


def test_a_pending_retry_survives_the_process(office: Office) -> None:
    """Between two tries everything is in the bucket: another process makes the next
    one, and no message is needed.
    """
    receiver = office.receiver(statuses(503, 204))
    first = office.start(callback_retry_s="12 12")
    upload_id = office.ended(receiver.url)
    eventually(
        lambda: [
            due
            for due in office.call_log.pending()
            if due.attempt == 1 and postponed(office, due.upload_id)
        ],
        "the first try failed",
    )
    first.kill()
    first.wait()
    assert office.idle()
    office.start(callback_retry_s="12 12")
    assert (office.result(upload_id).outcome, len(receiver.received)) == (
        "delivered",
        2,
    )


def test_two_processes_make_each_try_once(office: Office) -> None:
    receiver = office.receiver(statuses(204))
    for _ in range(2):
        office.start()
    uploads = [office.ended(receiver.url) for _ in range(20)]
    assert all(office.result(upload_id).attempts == 1 for upload_id in uploads)
    assert len(receiver.received) == 20


def test_a_lost_message_is_found_by_the_sweep(office: Office) -> None:
    """The upload has ended, nobody has its call in hand: the sweep asks for it; once it
    is told, it is settled.
    """
    receiver = office.receiver(status(204))
    upload_id = office.ended(receiver.url)
    with connected(office.ctx.settings) as (_, channel):
        channel.queue_purge(topology.CALLBACKS)
    assert office.idle()
    memory = Memory()
    eventually(
        lambda: on_sweep(office.ctx, memory=memory).webhooks_requested, "the sweep asks"
    )
    assert not office.idle()
    assert (
        on_sweep(office.ctx, memory=memory).webhooks_requested == 0
    )  # it is on its way
    office.start()
    assert office.result(upload_id).outcome == "delivered"
    eventually(office.idle, "the message is settled")
    assert on_sweep(office.ctx, memory=memory).webhooks_requested == 0
    assert len(memory.unsettled) == 0


def test_what_was_given_up_can_be_sent_again_by_a_person(office: Office) -> None:
    """`darkroom dead retry` puts the message back; the receiver is there again."""
    receiver = office.receiver(statuses(500, 500, 500, 204))
    office.start()
    upload_id = office.ended(receiver.url)
    assert office.result(upload_id).outcome == "given_up"
    mine = [
        letter.id
        for letter in letters(office.ctx.settings)
        if upload_id.encode() in letter.body
    ]
    assert retry(office.ctx.settings, mine) == 1
    eventually(
        lambda: (
            (result := office.call_log.result(upload_id))
            and result.outcome == "delivered"
        ),
        "delivered",
    )


def test_the_command_tests_an_address(office: Office) -> None:
    """One signed sample: exit status and sentence say what came of it; a good answer
    switches an address on again.
    """
    good, gone = office.receiver(status(204)), office.receiver(statuses(410, 204))
    values = office.ctx.settings.variables() | {
        "DARKROOM_CALLBACK_PORTS": office.ctx.settings.callback_ports
    }

    def test(url: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.cli", "webhooks", "test", url, *options]
        return subprocess.run(
            command,
            env=os.environ | values,
            capture_output=True,
            text=True,
            timeout=300,
        )

    done = test(good.url, "--json")
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (0, True)
    assert (
        Webhook(SECRETS[0]).verify(good.received[0].body, good.received[0].headers)[
            "type"
        ]
        == "webhook.test"
    )
    for user in ("ann", "bob"):
        office.call_log.disable(gone.url, user)
    assert test(gone.url).returncode == 1
    assert office.call_log.is_disabled(gone.url, "ann")
    assert test(gone.url).returncode == 0
    assert not [
        user for user in ("ann", "bob") if office.call_log.is_disabled(gone.url, user)
    ]
    refused = test("https://127.0.0.2/")
    assert refused.returncode == 1
    assert "not public" in refused.stdout
