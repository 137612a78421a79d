"""`bootstrap` tries what the holder of a ticket might try, and the API offers what is
safe.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from infra import upload_forms as tries
from infra.bootstrap import bootstrap
from infra.local.stack import Stack
from shared import upload_forms
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from tests.contract.test_api_uploads import WANTED, client_of
from tests.support.admin import as_admin
from tests.support.lax_store import lax_store

NO_KEY = {"s3_ticket_access_key": SecretStr(""), "s3_ticket_secret_key": SecretStr("")}


@pytest.fixture
def settings(servers: Stack) -> Any:
    """As the administrator, who bootstraps; what was found out before is found out
    again.
    """
    tickets = {name: getattr(servers.settings, name) for name in NO_KEY}
    given = as_admin(servers.settings).model_copy(update=tickets)
    yield given
    tries.check(S3Store(given), given)


def left(store: S3Store, settings: Settings) -> list[str]:
    """What lies about, and is not meant to."""
    buckets = [bucket["Name"] for bucket in store.client.list_buckets()["Buckets"]]
    objects = [
        info.key
        for info in store.list(settings.bucket_uploads, tries.KEY.rpartition("/")[0])
    ]
    secret = [info.key for info in store.list(settings.bucket_results, tries.HIDDEN)]
    parts = [
        upload.key
        for upload in store.unfinished(settings.bucket_uploads)
        if upload.key == tries.KEY
    ]
    return [
        *(name for name in buckets if name.startswith("darkroom-check-")),
        *objects,
        *secret,
        *parts,
    ]


def test_every_form_is_safe_by_the_tickets_own_key(settings: Settings) -> None:
    store = S3Store(settings)
    assert (
        tries.check(store, settings).safe
        == upload_forms.ALL
        == upload_forms.read(store, settings).safe
    )
    assert left(store, settings) == []
    put = client_of(settings).post("/v1/uploads", json=WANTED).json()["put"]
    assert put["headers"]["If-None-Match"] == "*"


def test_signed_by_an_administrators_key_the_form_alone_is_safe(
    settings: Settings,
) -> None:
    """This store takes a signature for a path that was cut in two. The API then offers
    nothing else.
    """
    bare, store = settings.model_copy(update=NO_KEY), S3Store(settings)
    bootstrap(bare)
    assert upload_forms.read(store, settings).safe == ("post",)
    assert left(store, settings) == []
    issued = (
        client_of(bare).post("/v1/uploads", json=WANTED | {"bytes": 40_000_000}).json()
    )
    assert (issued["put"], issued["multipart"]) == (None, None)
    assert issued["post"]["fields"]["key"] == issued["key"]


def test_a_key_that_cannot_put_is_told(settings: Settings) -> None:
    """At bootstrap, and not by every ticket's holder."""
    wrong = settings.model_copy(
        update={"s3_ticket_access_key": SecretStr("darkroom-worker")}
    )
    with pytest.raises(SettingsError, match="DARKROOM_S3_TICKET_ACCESS_KEY"):
        tries.check(S3Store(settings), wrong)
    assert left(S3Store(settings), settings) == []


@pytest.mark.parametrize("name", ["put_copies", "put_adds", "put_publishes", "is_cut"])
def test_a_store_that_lets_it_through_is_found_out(
    settings: Settings, name: str
) -> None:
    """Each try by itself, on a store that lets everything through and one that does
    not.
    """
    sound = tries._Tries(S3Store(settings), settings)
    with lax_store(settings) as url, sound.secret():
        lax = settings.model_copy(update={"s3_endpoint_url": url})
        tried = tries._Tries(S3Store(lax), lax)
        tried._secret = sound._secret
        assert getattr(tried, name)() is True
        assert getattr(sound, name)() is False
    assert left(S3Store(settings), settings) == []


def test_a_part_that_becomes_a_copy_is_found_out(settings: Settings) -> None:
    sound = tries._Tries(S3Store(settings), settings)
    with lax_store(settings) as url, sound.secret():
        lax = settings.model_copy(update={"s3_endpoint_url": url})
        for given, found in ((lax, True), (settings, False)):
            tried = tries._Tries(S3Store(given), given)
            with tried.parts() as parts:
                assert tried.part_copies(parts) is found
    assert left(S3Store(settings), settings) == []


def test_on_such_a_store_the_form_alone_is_offered(settings: Settings) -> None:
    with lax_store(settings) as url:
        lax = settings.model_copy(update={"s3_endpoint_url": url})
        assert tries.check(S3Store(lax), lax).safe == ("post",)
    assert left(S3Store(settings), settings) == []
