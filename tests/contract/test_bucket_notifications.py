"""`infra.notifications` on servers that can be had here: moto for the rules, a stub for
MinIO's event stream.

moto is not MinIO and the stub is not either: it sends what MinIO's source says, the
event recorded in tests/events. SeaweedFS, the real one, is asked in
tests/system/test_compose_store.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr
from typer.testing import CliRunner

from infra.commands import storage
from infra.notifications import BucketNotifications
from shared.errors import NotFound, SettingsError, StorageUnavailable
from shared.runtime.settings import Settings

EVENT = json.loads(
    (Path(__file__).parents[1] / "events" / "minio-put.json").read_text()
)
OTHERS = "arn:aws:sqs:us-east-1:123456789012:others"


def settings_for(url: str) -> Settings:
    return Settings(
        s3_endpoint_url=url,
        s3_access_key=SecretStr("key"),
        s3_secret_key=SecretStr("secret-key"),
    )


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def clients(moto_url: str) -> Iterator[dict[str, Any]]:
    """moto's S3 and SQS with an empty uploads bucket."""
    access = {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret-key",
        "region_name": "us-east-1",
    }
    made = {
        name: boto3.client(name, endpoint_url=moto_url, **access)
        for name in ("s3", "sqs")
    }  # type: ignore[call-overload]
    made["s3"].create_bucket(Bucket="uploads")
    yield made
    made["s3"].delete_bucket(Bucket="uploads")


@pytest.fixture
def arn(clients: dict[str, Any]) -> str:
    for name in ("darkroom", "others"):
        clients["sqs"].create_queue(QueueName=name)
    return "arn:aws:sqs:us-east-1:123456789012:darkroom"


def test_enabling_is_said_once_and_kept(moto_url: str, arn: str) -> None:
    """The first call sets the rule, the second finds it; `show` prints it."""
    notifications = BucketNotifications(settings_for(moto_url))
    assert notifications.enable(arn) is True
    assert notifications.enable(arn) is False
    [rule] = notifications.show()["queues"]
    assert (rule["target"], rule["events"]) == (arn, ["s3:ObjectCreated:*"])


def test_rules_of_others_stay(moto_url: str, arn: str, clients: dict[str, Any]) -> None:
    """Enabling adds to what is set: a rule with another target and filter survives
    unchanged.
    """
    other = {
        "Id": "theirs",
        "QueueArn": OTHERS,
        "Events": ["s3:ObjectRemoved:*"],
        "Filter": {
            "Key": {
                "FilterRules": [
                    {"Name": "prefix", "Value": "a/"},
                    {"Name": "suffix", "Value": ".jpg"},
                ]
            }
        },
    }
    clients["s3"].put_bucket_notification_configuration(
        Bucket="uploads", NotificationConfiguration={"QueueConfigurations": [other]}
    )
    notifications = BucketNotifications(settings_for(moto_url))
    assert notifications.enable(arn) is True
    theirs, ours = notifications.show()["queues"]
    assert theirs == {
        "id": "theirs",
        "target": OTHERS,
        "events": ["s3:ObjectRemoved:*"],
        "prefix": "a/",
        "suffix": ".jpg",
    }
    assert ours["target"] == arn


def test_a_new_target_takes_the_place_of_the_old_one(moto_url: str, arn: str) -> None:
    """There is one rule of ours: enabling for another target moves it, so that no
    upload is told twice.
    """
    notifications = BucketNotifications(settings_for(moto_url))
    notifications.enable(OTHERS)
    assert notifications.enable(arn) is True
    assert [rule["target"] for rule in notifications.show()["queues"]] == [arn]


def test_a_target_that_the_server_does_not_know_is_refused(
    moto_url: str, arn: str
) -> None:
    """The server's own code and sentence reach the person."""
    with pytest.raises(SettingsError, match="InvalidArgument"):
        BucketNotifications(settings_for(moto_url)).enable("no-arn")


def test_no_bucket_names_the_way_out(moto_url: str) -> None:
    """Nothing is created by the way."""
    with pytest.raises(NotFound, match="darkroom bootstrap"):
        BucketNotifications(settings_for(moto_url)).show()


def test_a_server_that_answers_with_a_listing_is_not_asked_for_ever(
    moto_url: str, clients: dict[str, Any]
) -> None:
    """The client alone would repeat its question without a pause; moto takes `listen`
    for a listing.
    """
    with pytest.raises(SettingsError, match="cannot be listened to"):
        next(BucketNotifications(settings_for(moto_url)).listen())


@pytest.mark.parametrize("url", ["", "https://s3.eu-central-1.amazonaws.com"])
def test_amazon_is_refused_with_the_way_out(url: str) -> None:
    """The client would drop a bucket's EventBridge rule when it writes the others back."""
    with pytest.raises(SettingsError, match="EventBridge"):
        BucketNotifications(settings_for(url))


class StubOfMinio(BaseHTTPRequestHandler):
    """MinIO's answers as its source has them: an empty configuration; a blank line, one
    event, the end.
    """

    posts: list[tuple[str, str | None, Any]] = []  # noqa: RUF012 - one stub at a time

    def do_GET(self) -> None:
        self.send_response(200)
        if "notification=" in self.path:
            body, kind = b"<NotificationConfiguration/>", "application/xml"
        elif self.posts:
            # the server went away: the second question has no answer
            self.close_connection = True
            return
        else:
            body, kind = (
                b"\n" + json.dumps({"Records": EVENT["Records"]}).encode() + b"\n",
                "text/event-stream",
            )
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.posts.append((self.path, self.headers["authorization"], body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def stub_url() -> Iterator[str]:
    StubOfMinio.posts.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), StubOfMinio) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_listening_prints_and_forwards(
    stub_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each event is one JSON line on stdout and one POST with the bearer token; a
    server that goes away is an error.
    """
    monkeypatch.setenv("DARKROOM_S3_ENDPOINT_URL", stub_url)
    monkeypatch.setenv("DARKROOM_S3_ACCESS_KEY", "key")
    monkeypatch.setenv("DARKROOM_S3_SECRET_KEY", "secret-key")
    monkeypatch.setenv("DARKROOM_WEBHOOK_TOKEN", "the-token")
    result = CliRunner().invoke(
        storage.app,
        ["notifications", "listen", "--forward", f"{stub_url}/events/storage"],
    )
    [line] = result.stdout.splitlines()
    assert json.loads(line) == {"Records": EVENT["Records"]}
    assert StubOfMinio.posts == [
        ("/events/storage", "Bearer the-token", {"Records": EVENT["Records"]})
    ]
    assert isinstance(result.exception, StorageUnavailable)
