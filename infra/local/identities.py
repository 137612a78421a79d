"""Who may do what in the embedded object store: an identity for each kind of work, as
in compose (`seaweedfs.sh`).
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import SecretStr

from infra.local.state import State
from shared.runtime.settings import StoreSettings

ADMIN, WORKER, CALLBACKS, BACKUP = "admin", "worker", "callbacks", "backup"
TICKET_POLICY = "tickets"
LISTING = (("List", ""), ("List", "/*"), ("Read", ""))
"""Also in versions and parts, of which the last is asked."""


def key_of(state: State, role: str) -> dict[str, SecretStr]:
    """The settings by which a process has the key of this role."""
    # a folder of an earlier release has none, until it is up
    secret = SecretStr(state.secrets.get(f"s3_{role}", ""))
    return {"s3_access_key": SecretStr(f"darkroom-{role}"), "s3_secret_key": secret}


def own_keys(state: State) -> dict[str, SecretStr]:
    """The keys in `stack.env`: of the handlers and the commands, of tickets, and the
    one that `darkroom env` prints.
    """
    ticket = key_of(state, "ticket")
    return {
        **key_of(state, "handlers"),
        "s3_ticket_access_key": ticket["s3_access_key"],
        "s3_ticket_secret_key": ticket["s3_secret_key"],
        "s3_client_access_key": SecretStr(state.secrets["s3_access_key"]),
        "s3_client_secret_key": SecretStr(state.secrets["s3_secret_key"]),
    }


def identities(state: State, settings: StoreSettings) -> str:
    """`identities.json` of SeaweedFS. Only the administrator, who makes the buckets,
    has the right `Admin`.
    """
    shared = [
        settings.bucket_uploads,
        settings.bucket_results,
        settings.bucket_quarantine,
        settings.bucket_archive,
    ]
    found = [
        _identity(ADMIN, key_of(state, ADMIN), ["Admin"]),
        _identity(
            "handlers",
            _pair(settings, "s3"),
            _rights([], [], [*shared, settings.bucket_access]),
        ),
        # Where there is a policy it decides; but for forms, of which the store asks for
        # this right beside it.
        _identity(
            "ticket",
            _pair(settings, "s3_ticket"),
            [f"Write:{settings.bucket_uploads}"],
            policyNames=[TICKET_POLICY],
        ),
        _identity(WORKER, key_of(state, WORKER), _of_worker(settings)),
        _identity(CALLBACKS, key_of(state, CALLBACKS), _of_callbacks(settings)),
        # It reads everything, and writes nothing but how its last run was.
        _identity(
            BACKUP,
            key_of(state, BACKUP),
            _rights(
                [],
                [*shared, settings.bucket_access],
                [f"{settings.bucket_results}/backup"],
            ),
        ),
    ]
    if settings.s3_client_access_key.get_secret_value():
        found.append(
            _identity("client", _pair(settings, "s3_client"), _rights([], [], shared))
        )
    policies = [
        {
            "name": TICKET_POLICY,
            "content": json.dumps(ticket_policy(settings.bucket_uploads)),
        }
    ]
    return json.dumps({"identities": found, "policies": policies}, indent=2)


def ticket_policy(uploads: str) -> dict[str, Any]:
    """What the key may do by which tickets are signed: whatever a ticket's holder adds
    to a request, nothing else.
    """
    may = {
        "Effect": "Allow",
        "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
        "Resource": [f"arn:aws:s3:::{uploads}/users/*"],
    }
    return {"Version": "2012-10-17", "Statement": [may]}


def _of_worker(settings: StoreSettings) -> list[str]:
    """It looks at other objects of a bucket, too, to tell one that cannot be read from
    a store that gives none.
    """
    results = settings.bucket_results
    parts = (
        "processed",
        "previews",
        "copies",
        "credentials",
        "masks",
        "tiles",
        "claims",
        "workers",
    )
    written = [f"{results}/{part}" for part in parts]
    return _rights(
        [], [settings.bucket_uploads, results], [*written, settings.bucket_quarantine]
    )


def _of_callbacks(settings: StoreSettings) -> list[str]:
    results = settings.bucket_results
    return _rights(
        [f"{results}/receipts", f"{results}/processed", settings.bucket_quarantine],
        [],
        [f"{results}/callbacks"],
    )


def _rights(got: list[str], listed: list[str], written: list[str]) -> list[str]:
    """Buckets and parts of them whose objects may be got, also listed, also changed.

    `/*`: objects, and no setting of the bucket's, such as how long it keeps them.
    """
    get = [f"Read:{place}/*" for place in [*got, *listed, *written]]
    looks = [
        f"{right}:{place}{rest}"
        for place in [*listed, *written]
        for right, rest in LISTING
    ]
    return [
        *get,
        *looks,
        *(f"{right}:{place}/*" for place in written for right in ("Write", "Tagging")),
    ]


def _pair(settings: StoreSettings, name: str) -> dict[str, SecretStr]:
    return {
        f"s3_{part}": getattr(settings, f"{name}_{part}")
        for part in ("access_key", "secret_key")
    }


def _identity(
    role: str, key: dict[str, SecretStr], actions: list[str], **more: Any
) -> dict[str, Any]:
    access, secret = (
        key["s3_access_key"].get_secret_value(),
        key["s3_secret_key"].get_secret_value(),
    )
    credentials = [{"accessKey": access, "secretKey": secret}]
    return {
        "name": f"darkroom-{role}",
        "credentials": credentials,
        "actions": actions,
        **more,
    }
