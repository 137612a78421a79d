"""The functions in the package and with the variables that a deployment has, on
stand-ins: buckets and queues of moto, and a real PostgreSQL.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import psycopg2
import pytest

from infra.local.stack import Stack
from tests.charts.cloudformation import of_type
from tests.charts.tools import ROOT
from tests.support.brokers import Moto
from tests.support.databases import database
from tests.support.upload_world import photo

BUCKETS = ("uploads", "results", "quarantine", "archive", "access")
NAME = "stack-{}-111122223333"
"""A bucket's name, as the template makes it."""
CALL = """
import json, sys
sys.path[:0] = [sys.argv[1]]
from handlers import aws_lambda
answer = getattr(aws_lambda, sys.argv[2])(json.load(sys.stdin))
print("answer:" + json.dumps(answer, default=str))
"""


def script() -> ModuleType:
    """`infra/aws/build.py`, which is no module of the distribution."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "infra/aws/build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Deployment:
    """What the template makes, on stand-ins."""

    def __init__(self, package: Path, moto: Moto, database_url: str) -> None:
        self.database_url = database_url
        self._package = package
        self._own = {
            "DARKROOM_S3_ENDPOINT_URL": moto.url.replace("sqs://test:test@", "http://"),
            "DARKROOM_BROKER_URL": moto.url,
            "DARKROOM_DATABASE_URL": database_url,
            "DARKROOM_PEPPER": "pepper",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        options = {
            "endpoint_url": self._own["DARKROOM_S3_ENDPOINT_URL"],
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        self.s3: Any = boto3.client("s3", **options)
        self._sqs: Any = boto3.client("sqs", **options)
        for bucket in BUCKETS:
            self.s3.create_bucket(Bucket=NAME.format(bucket))

    def call(self, function: str, event: dict[str, Any]) -> Any:
        """A function's answer, by the package alone and with the template's variables."""
        properties = of_type("AWS::Lambda::Function")[function]
        variables = properties["Environment"]["Variables"]
        known = {name: _resolved(value) for name, value in variables.items()}
        own = {name: self._own[name] for name in self._own if name in known}
        always = {
            name: value
            for name, value in self._own.items()
            if name.startswith("AWS") or name == "DARKROOM_S3_ENDPOINT_URL"
        }
        handler = properties["Handler"].rpartition(".")[2]
        done = subprocess.run(
            # Neither this environment's packages nor the repository.
            [sys.executable, "-I", "-S", "-c", CALL, self._package, handler],
            env={"PATH": os.environ["PATH"], **known, **own, **always},
            input=json.dumps(event),
            capture_output=True,
            text=True,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        (answer,) = [
            line.removeprefix("answer:")
            for line in done.stdout.splitlines()
            if line.startswith("answer:")
        ]
        return json.loads(answer)

    def waiting(self, queue: str) -> dict[str, Any]:
        """The messages of a queue, as a function gets them."""
        url = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        answer = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        bodies = [message["Body"] for message in answer.get("Messages", [])]
        return batch(*bodies)


def _resolved(value: Any) -> str:
    if value == {"Ref": "AWS::Region"}:
        return "us-east-1"
    if value == {"Ref": "DefaultWorkflow"}:
        return "fast"
    if isinstance(value, dict) and str(value.get("Ref")).startswith("Bucket"):
        return NAME.format(value["Ref"].removeprefix("Bucket").lower())
    return value if isinstance(value, str) else ""


def batch(*bodies: str) -> dict[str, Any]:
    return {
        "Records": [
            {"messageId": str(number), "body": body, "eventSource": "aws:sqs"}
            for number, body in enumerate(bodies)
        ]
    }


def created(key: str, etag: str) -> str:
    """EventBridge's event of an upload, in the shape of a recorded one."""
    event: dict[str, Any] = json.loads(
        (ROOT / "tests/events/eventbridge-created.json").read_text()
    )
    event["detail"]["bucket"]["name"] = NAME.format("uploads")
    event["detail"]["object"] = {"key": key, "etag": etag, "sequencer": "01"}
    return json.dumps(event)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for this machine's Python, small enough for Lambda."""
    folder = tmp_path_factory.mktemp("package") / "lambda"
    unpacked, zipped = script().build(folder, f"3.{sys.version_info.minor}")
    print(f"the functions' package: {zipped / 1e6:.1f} MB, {unpacked / 1e6:.1f} MB")
    assert unpacked < script().MOST_BYTES
    return folder


@pytest.fixture
def deployment(package: Path, servers: Stack) -> Iterator[Deployment]:
    moto = Moto()
    try:
        moto.start()
        with database(servers.settings) as url:
            yield Deployment(package, moto, url)
    finally:
        moto.stop()


def test_an_upload_becomes_a_task_and_a_row(deployment: Deployment) -> None:
    """By EventBridge and SQS to the first function, by its message to the second, and
    the third finds nothing to repair.
    """
    bucket = NAME.format("uploads")
    stored = deployment.s3.put_object(Bucket=bucket, Key="a.png", Body=photo())
    events = batch(created("a.png", stored["ETag"].strip('"')), '{"hello": 1}')
    answer = deployment.call("OnObjectCreated", events)
    assert answer == {"batchItemFailures": []}
    (task,) = deployment.waiting("darkroom-restore-bulk")["Records"]
    assert len(task["body"]) < 4096
    (_,) = deployment.waiting("darkroom-uploads-dead")["Records"]

    recorded = deployment.waiting("darkroom-log")
    assert recorded["Records"]
    assert deployment.call("OnRecord", recorded) == {"batchItemFailures": []}
    with psycopg2.connect(deployment.database_url) as connection:
        cursor = connection.cursor()
        cursor.execute("select status, workflow_type from darkroom.restoration_log")
        assert cursor.fetchall() == [("queued", "fast")]

    report = deployment.call("OnSweep", {})
    assert report["failed"] == 0
