"""The parts of the broker that need no server."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Channel, Message

from shared.broker import topology
from shared.broker.dead_letter import MAX_DETAIL, DeadLetter
from shared.broker.delivery import Delivery, Settlement
from shared.broker.envelope import Content, payload, seal, unseal
from shared.broker.schemes import SCHEMES
from shared.broker.transports import transport
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from shared.uploads import identity

HEADERS = st.dictionaries(st.text(min_size=1), st.text(), max_size=3)


def test_queue_names_are_the_contract() -> None:
    """Tests and operators outside the project use these names."""
    lanes = tuple(f"darkroom.restore.bulk.{number}" for number in range(1, 9))
    assert ("darkroom.restore.bulk", *lanes) == topology.LANES
    interactive = tuple(
        f"darkroom.restore.interactive.{number}" for number in range(1, 5)
    )
    assert ("darkroom.restore.interactive", *interactive) == topology.INTERACTIVE_LANES
    assert {
        "darkroom.restore.preview",
        *topology.INTERACTIVE_LANES,
        *topology.LANES,
    } == set(topology.RESTORE)
    assert {"darkroom.uploads", *topology.RESTORE, "darkroom.log"} <= set(topology.ALL)
    assert topology.dead_queue(topology.BULK) == "darkroom.restore.bulk.dead"
    assert topology.restore_queue("interactive") == topology.INTERACTIVE
    assert topology.restore_queue("bulk") == topology.BULK
    assert [
        topology.restore_queue("interactive", lane) for lane in (1, 4, 5, 8, 9)
    ] == [
        interactive[0],
        interactive[3],
        interactive[0],
        interactive[3],
        topology.INTERACTIVE,
    ]
    assert topology.restore_queue("interactive", 3, preview=True) == topology.PREVIEW
    assert [topology.restore_queue("bulk", lane) for lane in (1, 8, 9)] == [
        lanes[0],
        lanes[7],
        topology.BULK,
    ]


def test_users_are_spread_evenly_over_the_lanes() -> None:
    """And never onto lane 0, where the photos of nobody in particular wait."""
    users = [identity.user_hash(f"user {number}", b"pepper") for number in range(4000)]
    counts = Counter(topology.lane_of(user) for user in users)
    assert sorted(counts) == list(range(1, len(topology.LANES)))
    assert min(counts.values()) > 400


def test_an_unknown_broker_is_a_fault_of_the_settings() -> None:
    """The refusal names the variable and the schemes there are, and no password."""
    with pytest.raises(
        SettingsError, match=r"DARKROOM_BROKER_URL.*redis.*amqp.*sqs"
    ) as caught:
        transport(Settings(broker_url="kafka://user:secret@host"))
    assert "secret" not in str(caught.value)


@given(st.binary(), HEADERS)
def test_an_envelope_gives_back_what_was_put_in(
    body: bytes, headers: dict[str, str]
) -> None:
    """Any bytes, any text."""
    assert unseal(seal(body, headers, "q").encode()) == Content(body, headers)


@given(st.binary(max_size=200), HEADERS)
def test_kombu_reads_our_envelope(body: bytes, headers: dict[str, str]) -> None:
    """Another kombu client gets the same bytes and headers from it."""

    class Theirs(Channel):
        def __init__(self) -> None:
            pass  # no connection: only the codecs are used

    message = Message(json.loads(seal(body, headers, "q")), channel=Theirs())
    assert (message.body or b"", message.headers) == (body, headers)
    assert message.content_type == "application/json"


@given(st.binary())
def test_bytes_that_are_no_envelope_are_told_apart(raw: bytes) -> None:
    """Nothing that is not an envelope raises or passes for one."""
    assert unseal(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b"null",
        b'"x"',
        b'{"body":"YQ=="}',
        b'{"body":"YQ==","properties":{}}',
        b'{"body":"%","properties":{"body_encoding":"base64"}}',
        b'{"body":null,"properties":{"body_encoding":"base64"}}',
        b'{"body":"YQ==","properties":[]}',
        b'{"body":"YQ==","properties":{"body_encoding":"base64"},"headers":7}',
    ],
)
def test_half_an_envelope_is_none(raw: bytes) -> None:
    """Its bytes are delivered as they are, and its reader decides."""
    assert unseal(raw) is None


def test_a_returned_entry_is_marked() -> None:
    """The mark that the server puts in front of an entry it gives back is read."""
    marked = '{"redelivered": true, ' + seal(b"x", {}, "q")[1:]
    assert unseal(marked.encode()) == Content(b"x", {}, redelivered=True)
    info = payload(Content(b"x", {}, redelivered=True), "tag", "q")["properties"][
        "delivery_info"
    ]
    assert info == {"exchange": "", "routing_key": "q", "redelivered": True}


def test_the_first_ruling_holds() -> None:
    """Eight threads settle one delivery, each in its way: it is settled once."""
    settlements: list[Settlement] = []
    delivery = Delivery(
        "q", b"", {}, False, lambda _, settlement: settlements.append(settlement)
    )
    start = threading.Barrier(8)

    def settle(number: int) -> None:
        start.wait()
        if number % 2:
            delivery.ack()
        else:
            delivery.dead("bad_message", str(number))

    threads = [threading.Thread(target=settle, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(settlements) == 1


def test_a_dead_letter_is_named_by_queue_and_body() -> None:
    """The id is derived: the same message has it again, another queue's has another."""
    first = DeadLetter.read("a", b"x", {"at": "1"})
    again = DeadLetter.read("a", b"x", {"at": "2"})
    assert first.id == again.id != DeadLetter.read("b", b"x", {}).id
    assert len(first.id) == 12


def test_a_dead_letter_of_rabbitmq_has_its_reason() -> None:
    """Beyond RabbitMQ's delivery limit no process of ours wrote a reason."""
    headers = {"x-first-death-reason": "delivery_limit", "x-death": [{"count": 1}]}
    letter = DeadLetter.read("a", b"x", headers)
    assert letter.code == "delivery_limit"
    assert DeadLetter.read("a", b"x", {}).code == "unknown"


class Published:
    """Keeps the one message that is published."""

    def __init__(self) -> None:
        self.queue = ""
        self.body = b""
        self.headers: Mapping[str, str] = {}

    def publish(self, queue: str, body: bytes, headers: Mapping[str, str]) -> None:
        self.queue, self.body, self.headers = queue, body, headers


def test_a_dead_letter_is_read_as_it_was_written() -> None:
    """Its reason replaces that of an earlier death; the message's own headers stay."""
    published = Published()
    headers = {"own": "header", "code": "old", "x-death": [{"count": 1}]}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    letter = DeadLetter.of("a", b"x", headers, "bad_message", "y" * 5000, at)
    letter.publish(published)
    assert published.queue == "a.dead"
    assert DeadLetter.read("a", published.body, published.headers) == letter
    assert letter.headers == {"own": "header"}
    assert letter.detail == "y" * MAX_DETAIL


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_has_its_transport(scheme: str) -> None:
    """The broker that it names is the one that its class speaks to."""
    settings = Settings(broker_url=f"{scheme}://user:secret@host")
    assert type(transport(settings)).__name__ == SCHEMES[scheme].transport
