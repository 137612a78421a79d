"""Who may do what in an object store of ours: identity × action. A new identity or
action must be entered here.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

EVERYTHING = {"put", "get", "list", "delete"}
BUCKETS = ("uploads", "results", "quarantine", "archive", "access")
PLACES = {
    "uploads/a.png": "uploads/",
    "uploads/users/u/t/photo": "uploads/users/u/",
    "results/processed/t.png": "results/",
    "results/previews/t.webp": "results/previews/",
    "results/copies/t.jpg": "results/copies/",
    "results/credentials/t.c2pa": "results/credentials/",
    "results/masks/t.png": "results/masks/",
    "results/tiles/t.zip": "results/tiles/",
    "results/claims/t/0001.json": "results/claims/t/",
    "results/receipts/u.json": "results/receipts/",
    "results/callbacks/due/u/0001.json": "results/callbacks/due/",
    "results/workers/k-h.json": "results/workers/",
    "results/sweep/state.json": "results/",
    "results/backup/state.json": "results/backup/",
    "quarantine/u/reason.json": "quarantine/u/",
    "archive/a": "archive/",
    "results/processed/.darkroom-probe": "results/processed/",
    "results/receipts/.darkroom-probe": "results/receipts/",
    "results/callbacks/.darkroom-probe": "results/callbacks/",
    "quarantine/.darkroom/probe": "quarantine/.darkroom/",
    "access/keys/k.json": "access/keys/",
    "access/tickets/t.json": "access/tickets/",
}
"""An object of each kind, and from where its neighbours are listed."""

RIGHTS: dict[str, dict[str, set[str]]] = {
    "admin": dict.fromkeys(PLACES, EVERYTHING),
    "handlers": dict.fromkeys(PLACES, EVERYTHING),
    "ticket": {"uploads/users/u/t/photo": {"put"}},
    "worker": {
        place: {"get", "list"}
        for place in PLACES
        if place.startswith(("uploads/", "results/"))
    }
    | {
        "results/processed/t.png": EVERYTHING,
        "results/previews/t.webp": EVERYTHING,
        "results/copies/t.jpg": EVERYTHING,
        "results/credentials/t.c2pa": EVERYTHING,
        "results/masks/t.png": EVERYTHING,
        "results/tiles/t.zip": EVERYTHING,
        "results/claims/t/0001.json": EVERYTHING,
        "quarantine/u/reason.json": EVERYTHING,
        "results/workers/k-h.json": EVERYTHING,
        "results/processed/.darkroom-probe": EVERYTHING,
        "quarantine/.darkroom/probe": EVERYTHING,
    },
    "callbacks": {
        "results/receipts/u.json": {"get"},
        "results/processed/t.png": {"get"},
        "quarantine/u/reason.json": {"get"},
        "results/callbacks/due/u/0001.json": EVERYTHING,
        "results/callbacks/.darkroom-probe": EVERYTHING,
        "results/receipts/.darkroom-probe": {"get"},
        "results/processed/.darkroom-probe": {"get"},
        "quarantine/.darkroom/probe": {"get"},
    },
    "backup": {place: {"get", "list"} for place in PLACES}
    | {"results/backup/state.json": EVERYTHING},
    "client": {
        place: EVERYTHING for place in PLACES if not place.startswith("access/")
    },
}
"""Role → place → what it may do there; what is not named it may not."""

LOOKS = {"versioning", "versions", "parts"}
OF_BUCKETS = {
    "handlers": LOOKS | {"copy"},
    "client": LOOKS | {"copy"},
    "worker": LOOKS,
    "backup": LOOKS,
}
"""What the sweep asks of a bucket; and a copy within the store of what one may read."""


def found(client: Any, admin: Any, role: str) -> dict[str, set[str]]:
    """What a client with the role's key may do, tried on the store."""
    may: dict[str, set[str]] = {}
    for place, around in PLACES.items():
        bucket, _, key = place.partition("/")
        at = {"Bucket": bucket, "Key": key}
        admin.put_object(**at, Body=b"1")
        tries: list[tuple[str, Any, dict[str, Any]]] = [
            ("get", client.get_object, at),
            (
                "list",
                client.list_objects_v2,
                {"Bucket": bucket, "Prefix": around.partition("/")[2]},
            ),
            ("put", client.put_object, at | {"Body": role.encode()}),
            ("delete", client.delete_object, at),
        ]
        if allowed := {
            name for name, call, arguments in tries if is_allowed(call, **arguments)
        }:
            may[place] = allowed
    return may


def is_allowed(call: Any, **arguments: Any) -> bool:
    """Raises what is neither done nor refused."""
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            raise
        return False
    return True


def bucket_rights(client: Any, role: str) -> set[str]:
    """What it may do with buckets themselves, and what it may smuggle into a place that
    it may write.
    """
    rules = {
        "Rules": [
            {
                "ID": "x",
                "Status": "Enabled",
                "Prefix": "of-a-test/",
                "Expiration": {"Days": 1},
            }
        ]
    }
    tries = {
        "make": lambda: client.create_bucket(Bucket=f"new-{role}"),
        "delete": lambda: client.delete_bucket(Bucket="spare"),
        "rule": lambda: client.put_bucket_lifecycle_configuration(
            Bucket="uploads", LifecycleConfiguration=rules
        ),
        "keep": lambda: client.put_bucket_versioning(
            Bucket="uploads", VersioningConfiguration={"Status": "Suspended"}
        ),
        "versioning": lambda: client.get_bucket_versioning(Bucket="uploads"),
        "versions": lambda: client.list_object_versions(Bucket="uploads"),
        "parts": lambda: client.list_multipart_uploads(Bucket="uploads"),
        "copy": lambda: client.copy_object(
            Bucket="uploads", Key="users/u/t/copy", CopySource="results/processed/t.png"
        ),
    }
    return {name for name, call in tries.items() if is_allowed(call)}
