"""The embedded object store's identities: each has the rights of its work, and no
others.
"""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from infra.local.stack import Stack
from shared.s3.presign import for_tickets
from shared.s3.store import S3Store
from tests.support import rights
from tests.support.admin import as_admin


def client_of(servers: Stack, role: str) -> Any:
    """As the stack gives its key to whoever has the role."""
    identities = json.loads(
        (servers.state.path("seaweedfs", "conf", "identities.json")).read_text()
    )["identities"]
    (known,) = [
        identity for identity in identities if identity["name"] == f"darkroom-{role}"
    ]
    key = known["credentials"][0]
    return boto3.client(
        "s3",
        endpoint_url=servers.settings.s3_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=key["accessKey"],
        aws_secret_access_key=key["secretKey"],
    )


@pytest.fixture(scope="module")
def admin(servers: Stack) -> Any:
    client = S3Store(as_admin(servers.settings)).client
    client.create_bucket(Bucket="spare")
    yield client
    client.delete_bucket(Bucket="spare")


@pytest.mark.parametrize("role", rights.RIGHTS)
def test_each_identity_has_the_rights_of_its_work(
    servers: Stack, admin: Any, role: str
) -> None:
    assert rights.found(client_of(servers, role), admin, role) == rights.RIGHTS[role]


@pytest.mark.parametrize("role", [role for role in rights.RIGHTS if role != "admin"])
def test_only_the_administrator_makes_deletes_and_rules_buckets(
    servers: Stack, admin: Any, role: str
) -> None:
    """And nobody who may not read a result can have the store copy it."""
    admin.put_object(Bucket="results", Key="processed/t.png", Body=b"1")
    assert rights.bucket_rights(
        client_of(servers, role), role
    ) == rights.OF_BUCKETS.get(role, set())


def test_every_identity_is_in_the_table(servers: Stack) -> None:
    """The settings hold the handlers' and the tickets' keys, `darkroom env` prints the
    client's.
    """
    told = json.loads(
        (servers.state.path("seaweedfs", "conf", "identities.json")).read_text()
    )["identities"]
    keys = {
        identity["name"]: identity["credentials"][0]["accessKey"] for identity in told
    }
    assert {name.removeprefix("darkroom-") for name in keys} == set(rights.RIGHTS)
    settings = servers.settings
    assert settings.s3_access_key.get_secret_value() == keys["darkroom-handlers"]
    assert (
        for_tickets(settings).s3_access_key.get_secret_value()
        == keys["darkroom-ticket"]
    )
    assert settings.s3_client_access_key.get_secret_value() == keys["darkroom-client"]
