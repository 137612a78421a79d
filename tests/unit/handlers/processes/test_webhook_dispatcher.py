"""The callbacks process: who is called when many are to be called at once."""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from handlers.processes.webhook_dispatcher import Dispatcher
from handlers.webhooks.call_log import CallLog
from handlers.webhooks.fair_queue import (
    MAX_CALLS,
    MAX_LATER_CALLS,
    MAX_PER_HOST,
    MAX_PER_USER,
)
from shared.broker import topology
from shared.errors import Code, MessageError, PermanentError, StorageUnavailable
from shared.s3.clock import SystemClock
from shared.s3.store import ObjectInfo
from shared.uploads import keys
from shared.uploads.messages import CallbackDue
from tests.support.upload_world import World, photo
from tests.support.waiting import eventually


class Post:
    """Counts who is called; hosts in `held` do not answer before `release`."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.release = threading.Event()
        self.free = defaultdict[str, threading.Event](threading.Event)
        self.now, self.most, self.done = Counter[str](), Counter[str](), Counter[str]()
        self.answer = 204
        self._lock = threading.Lock()

    def __call__(
        self, url: str, _ident: str, body: bytes, _user_hash: str | None
    ) -> int:
        assert json.loads(body)["type"] == "task.finished"
        host = url.split("/")[2]
        with self._lock:
            self.now[host] += 1
            self.most[host] = max(self.most[host], self.now[host])
        if host in self.held:
            while not (self.release.wait(0.02) or self.free[host].is_set()):
                pass
        with self._lock:
            self.now[host] -= 1
            self.done[host] += 1
        return self.answer


class Office(World):
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self.ctx, "clock", SystemClock())
        self.post = Post()
        self.call_log = CallLog(self.store, "results", 15.0)
        self.dispatcher = Dispatcher(self.ctx, self.call_log, self.post)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.dispatcher.run, args=(self.stop,))
        self._number = 0

    def message(self, host: str, user: str = "ann") -> bytes:
        """Of an upload that ended and asked for a webhook to this host."""
        self._number += 1
        metadata = {"callback": f"https://{host}/", "user": user}
        decision = self.upload(
            f"{self._number}.txt", b"no photo %d" % self._number, metadata
        )
        assert decision.kind == "rejected"
        return self.publisher.bodies(topology.CALLBACKS)[-1]


@pytest.fixture
def office() -> Iterator[Office]:
    office = Office()
    yield office
    office.post.release.set()
    office.stop.set()
    if office.thread.is_alive():
        office.thread.join()


def test_a_dead_host_holds_no_more_than_its_share(office: Office) -> None:
    """Its calls wait for each other; another host's is made at once; in the end
    everybody was called.
    """
    office.post.held.add("dead.example.com")
    office.thread.start()
    for _ in range(3 * MAX_PER_HOST):
        office.dispatcher.take_in(office.message("dead.example.com"))
    eventually(
        lambda: office.post.now["dead.example.com"] == MAX_PER_HOST,
        "the dead host's share of calls",
    )
    office.dispatcher.take_in(office.message("good.example.com"))
    eventually(
        lambda: office.post.done["good.example.com"] == 1, "the good host's call"
    )
    assert office.post.done["dead.example.com"] == 0
    office.post.release.set()
    eventually(
        lambda: office.post.done["dead.example.com"] == 3 * MAX_PER_HOST,
        "every call of the dead host",
    )
    assert office.post.most["dead.example.com"] == MAX_PER_HOST


def test_a_user_with_many_hosts_holds_no_more_than_a_share(office: Office) -> None:
    """A name for each call takes no thread more; another user is called at once, and in
    the end everybody was.
    """
    hosts = [f"slow{number}.example.com" for number in range(2 * MAX_CALLS)]
    office.post.held.update(hosts)
    office.thread.start()
    for host in hosts:
        office.dispatcher.take_in(office.message(host, "ann"))
    eventually(
        lambda: office.post.now.total() == MAX_PER_USER, "the user's share of calls"
    )
    office.dispatcher.take_in(office.message("good.example.com", "bob"))
    eventually(
        lambda: office.post.done["good.example.com"] == 1, "the other user's call"
    )
    assert office.post.now.total() == MAX_PER_USER
    office.post.release.set()
    eventually(
        lambda: sum(office.post.done[host] for host in hosts) == len(hosts),
        "every call of the first user",
    )


def test_shares_of_hosts_and_users_that_overlap_end_in_every_call_made(
    office: Office,
) -> None:
    """Two users call two hosts, each more often than both shares together allow: no
    call is forgotten in a line.
    """
    office.thread.start()
    for _ in range(MAX_PER_USER + MAX_PER_HOST):
        for user in ("ann", "bob"):
            for host in ("a.example.com", "b.example.com"):
                office.dispatcher.take_in(office.message(host, user))
    eventually(
        lambda: office.post.done.total() == 4 * (MAX_PER_USER + MAX_PER_HOST),
        "every call",
    )


def test_whoever_waits_for_a_host_does_not_wait_for_its_other_callers_user(
    office: Office,
) -> None:
    """The host is free again, and those of its callers who came first have a full share
    of their own elsewhere.
    """
    slow = [f"slow{number}.example.com" for number in range(MAX_PER_USER)]
    office.post.held.update([*slow, "shared.example.com"])
    office.thread.start()
    for _ in range(MAX_PER_HOST):
        office.dispatcher.take_in(office.message("shared.example.com", "bob"))
    eventually(
        lambda: office.post.now["shared.example.com"] == MAX_PER_HOST,
        "the shared host's share of calls",
    )
    for _ in range(MAX_PER_HOST):
        office.dispatcher.take_in(office.message("shared.example.com", "ann"))
    office.dispatcher.take_in(office.message("shared.example.com", "bob"))
    eventually(
        lambda: office.dispatcher.blocked() == MAX_PER_HOST + 1,
        "more than the host's share to wait",
    )
    for host in slow:
        office.dispatcher.take_in(office.message(host, "ann"))
    eventually(
        lambda: sum(office.post.now[host] for host in slow) == MAX_PER_USER,
        "the first user's share elsewhere",
    )
    office.post.held.remove("shared.example.com")
    office.post.free["shared.example.com"].set()
    eventually(
        lambda: office.post.done["shared.example.com"] == MAX_PER_HOST + 1,
        "the other user's calls",
    )


def test_later_tries_leave_room_for_first_ones(office: Office) -> None:
    """However many receivers were dead before, what ends now is sent now."""
    hosts = [f"dead{number}.example.com" for number in range(MAX_CALLS)]
    office.post.held.update(hosts)
    for host in hosts:
        upload_id = CallbackDue.decode(office.message(host, user=host)).upload_id
        due = office.call_log.add(upload_id, host, host)
        assert due
        begun = office.call_log.begin(due)
        assert begun
        office.call_log.postpone(begun, 0.0, 500, "HTTP 500")
    office.thread.start()
    eventually(
        lambda: office.post.now.total() == MAX_LATER_CALLS,
        "as many later tries as may be",
    )
    office.dispatcher.take_in(office.message("good.example.com"))
    eventually(
        lambda: office.post.done["good.example.com"] == 1, "the good host's call"
    )
    assert office.post.now.total() == MAX_LATER_CALLS
    office.post.release.set()
    eventually(
        lambda: sum(office.post.done[host] for host in hosts) == MAX_CALLS,
        "every later try",
    )


def test_an_outage_of_the_store_delays(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try that could not be begun is no try."""
    monkeypatch.setattr("handlers.processes.webhook_dispatcher.RETRY_S", 0.01)
    body = office.message("good.example.com")
    office.dispatcher.take_in(body)
    office.store.unavailable = True
    office.thread.start()
    with pytest.raises(StorageUnavailable):
        office.dispatcher.take_in(body)
    office.store.unavailable = False
    eventually(
        lambda: office.post.done["good.example.com"] == 1, "the good host's call"
    )
    eventually(
        lambda: office.call_log.result(CallbackDue.decode(body).upload_id),
        "the end in the call_log",
    )
    assert office.post.done.total() == 1


def other_process(office: Office) -> None:
    """Leaves a call in the call_log, of which this process hears by looking only."""
    upload_id = CallbackDue.decode(office.message("good.example.com")).upload_id
    assert office.call_log.add(upload_id, "good.example.com", "ann")


def test_a_look_that_goes_wrong_is_logged_and_made_again(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it was: what other processes left is called all the same."""
    monkeypatch.setattr("handlers.processes.webhook_dispatcher.LOOK_S", 0.01)
    errors: list[Exception] = [
        RuntimeError("unexpected"),
        PermanentError(Code.INTERNAL, "no bucket"),
    ]
    listing = office.store.list

    def wrong_at_first(
        bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        if errors:
            raise errors.pop()
        return listing(bucket, prefix)

    monkeypatch.setattr(office.store, "list", wrong_at_first)
    other_process(office)
    with capture_logs() as logs:
        office.thread.start()
        eventually(lambda: office.post.done["good.example.com"] == 1, "the call")
    errors_logged = [
        line["exc_info"]
        for line in logs
        if line["event"] == "callback.postponed" and line["log_level"] == "error"
    ]
    assert [type(error) for error in errors_logged] == [PermanentError, RuntimeError]


def test_a_note_that_cannot_be_read_hides_no_other_call(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is no note, and a note that the store does not give: the call
    behind them is made.
    """
    monkeypatch.setattr("handlers.processes.webhook_dispatcher.LOOK_S", 0.01)
    hidden = "00000000-0000-4000-8000-000000000000"
    office.store.put(
        "results", keys.callbacks_due(hidden) + "0000.json", b"{}", "application/json"
    )
    office.store.put(
        "results",
        keys.callbacks_due(hidden[:-1] + "1") + "notes.json",
        b"{}",
        "application/json",
    )
    read = office.store.read

    def out_of_reach(bucket: str, key: str, version: str | None = None) -> bytes:
        if hidden in key:
            raise StorageUnavailable("AccessDenied")
        return read(bucket, key, version)

    monkeypatch.setattr(office.store, "read", out_of_reach)
    other_process(office)
    with capture_logs() as logs:
        office.thread.start()
        eventually(lambda: office.post.done["good.example.com"] == 1, "the call")
    unread = [line["error"] for line in logs if line["event"] == "callback.unread"]
    assert set(unread) == {"StorageUnavailable"}


def test_a_look_that_hangs_is_seen(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a pulse of its own, which rests between two looks."""
    listing, asked, answer = office.store.list, threading.Event(), threading.Event()

    def held(
        bucket: str, prefix: str = "", start_after: str = ""
    ) -> Iterator[ObjectInfo]:
        asked.set()
        answer.wait()
        return listing(bucket, prefix)

    monkeypatch.setattr(office.store, "list", held)
    other_process(office)
    look_quiet_s = office.dispatcher.parts["look"]
    assert look_quiet_s() == 0
    office.thread.start()
    try:
        assert asked.wait(60)
        eventually(lambda: look_quiet_s() > 0.5, "silence")
    finally:
        answer.set()
    eventually(lambda: office.post.done["good.example.com"] == 1, "the call")
    eventually(lambda: look_quiet_s() == 0, "a rest")


def test_a_message_is_remembered_once(office: Office) -> None:
    """Messages come twice."""
    body = office.message("good.example.com")
    for _ in range(3):
        office.dispatcher.take_in(body)
    office.thread.start()
    eventually(
        lambda: office.post.done["good.example.com"] == 1, "the good host's call"
    )
    eventually(lambda: not list(office.call_log.pending()), "an empty call_log")
    office.dispatcher.take_in(body)
    eventually(lambda: not list(office.call_log.pending()), "an empty call_log")
    assert office.post.done.total() == 1


def test_useless_messages_are_refused_and_empty_ones_ignored(office: Office) -> None:
    """No message: dead. Erased, or nobody asked: nothing to do."""
    with pytest.raises(MessageError):
        office.dispatcher.take_in(b"{}")
    office.dispatcher.take_in(CallbackDue(upload_id="erased").encode())
    plain = office.upload("plain.png", photo())
    assert plain.upload_id
    office.dispatcher.take_in(CallbackDue(upload_id=plain.upload_id).encode())
    assert list(office.call_log.pending()) == []


def test_an_address_that_is_no_longer_allowed_ends_in_the_call_log(
    office: Office,
) -> None:
    """Not in a loop of sweep and dead queue: its tries fail with the rule, by the
    schedule.
    """
    body = office.message("good.example.com")
    object.__setattr__(
        office.ctx,
        "settings",
        office.ctx.settings.model_copy(update={"callback_ports": "8443"}),
    )
    office.dispatcher.take_in(body)
    (due,) = office.call_log.pending()
    assert due.upload_id == CallbackDue.decode(body).upload_id
