"""Which forms of signed uploads are safe on this object store. `darkroom bootstrap`
tests them, the API offers those that are safe.
"""

from __future__ import annotations

from typing import Literal, get_args

from shared.errors import NotFound
from shared.runtime.settings import StoreSettings
from shared.s3.store import ObjectStore
from shared.uploads.documents import Document

Form = Literal["post", "put", "multipart"]
ALL: tuple[Form, ...] = get_args(Form)
PLACE = ".darkroom/upload-forms.json"
OWN_KEY = (
    "tickets are signed by the process's own key, so on a store that lets something unsigned through their holders may "
    "do what it may: set DARKROOM_S3_TICKET_ACCESS_KEY and DARKROOM_S3_TICKET_SECRET_KEY to a key that may only put "
    "objects under users/ of the bucket of uploads"
)


class UploadForms(Document):
    """`.darkroom/upload-forms.json` in the bucket for access."""

    safe: tuple[Form, ...] = ALL


def read(store: ObjectStore, settings: StoreSettings) -> UploadForms:
    """What `bootstrap` found; every form where it did not run.

    Raises `StorageUnavailable`.
    """
    try:
        data = store.read(settings.bucket_access, PLACE)
    except NotFound:
        return UploadForms()
    return UploadForms.from_bytes(data, "upload-forms.json")
