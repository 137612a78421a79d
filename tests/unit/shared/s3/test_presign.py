"""What is signed here is what the SDK would sign at the same moment."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore import auth, signers
from botocore.config import Config

from shared.runtime.settings import Settings
from shared.s3.presign import Presigner, Upload

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
SETTINGS = Settings(
    s3_access_key="AKIA", s3_secret_key="secret/+", s3_region="eu-central-1"
)
UPLOAD = Upload(
    "uploads",
    "users/ab/c d+e.png",
    "image/png",
    {"workflow": "fast", "params": '{"scale":2}'},
    77,
)


@pytest.fixture(autouse=True)
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        auth, "get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None)
    )
    monkeypatch.setattr(
        signers, "get_current_datetime", lambda *_, **__: NOW.replace(tzinfo=None)
    )


def sdk(endpoint: str) -> Any:
    config = Config(
        signature_version="s3v4", s3={"addressing_style": "path"} if endpoint else {}
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint or None,
        region_name="eu-central-1",
        config=config,
        aws_access_key_id="AKIA",
        aws_secret_access_key="secret/+",
    )


@pytest.mark.parametrize(
    "endpoint", ["", "http://127.0.0.1:8333", "https://photos.example"]
)
def test_a_put_is_the_sdks(endpoint: str) -> None:
    """To the byte: Amazon's own addresses and others."""
    signed = Presigner(SETTINGS.model_copy(update={"s3_public_url": endpoint})).put(
        UPLOAD, 900, NOW
    )[0]
    asked = {
        "Bucket": UPLOAD.bucket,
        "Key": UPLOAD.key,
        "ContentType": UPLOAD.content_type,
        "Metadata": dict(UPLOAD.metadata),
        "ContentLength": 77,
        "IfNoneMatch": "*",
    }
    assert signed == sdk(endpoint).generate_presigned_url("put_object", asked, 900)


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:8333"])
def test_a_form_is_the_sdks(endpoint: str) -> None:
    """The same fields and conditions; the signature is right for the policy as it is
    written.
    """
    url, fields = Presigner(
        SETTINGS.model_copy(update={"s3_endpoint_url": endpoint})
    ).form(UPLOAD, 1000, 900, NOW)
    mine = {
        "Content-Type": UPLOAD.content_type,
        "success_action_status": "201",
        **{f"x-amz-meta-{name}": value for name, value in UPLOAD.metadata.items()},
    }
    conditions = [
        ["content-length-range", 1, 1000],
        *({name: value} for name, value in mine.items()),
    ]
    theirs = sdk(endpoint).generate_presigned_post(
        UPLOAD.bucket, UPLOAD.key, mine, conditions, 900
    )
    assert url.rstrip("/") == theirs["url"].rstrip("/")
    assert {*fields} == {*theirs["fields"]}
    signed, expected = (
        json.loads(base64.b64decode(f["policy"])) for f in (fields, theirs["fields"])
    )
    assert sorted(map(str, signed["conditions"])) == sorted(
        map(str, expected["conditions"])
    )
    signer = auth.SigV4Auth(
        boto3.Session("AKIA", "secret/+").get_credentials(), "s3", "eu-central-1"
    )
    request = type("Request", (), {"context": {"timestamp": "20260504T030201Z"}})()
    assert fields["x-amz-signature"] == signer.signature(fields["policy"], request)
