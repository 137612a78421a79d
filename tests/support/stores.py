"""The stores that the suite runs over, and what it needs of them beside
`shared.s3.store.ObjectStore`.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from shared.s3.store import ObjectStore, S3Store
from tests.support.memory_store import MemoryStore


def make_bucket(store: ObjectStore) -> str:
    """A bucket of the test's own, which keeps no versions yet."""
    name = f"own-{uuid4()}"
    if isinstance(store, MemoryStore):
        store.make_bucket(name)
    else:
        assert isinstance(store, S3Store)
        store.client.create_bucket(Bucket=name)
    return name


def keep_versions(store: ObjectStore, bucket: str) -> None:
    _set_versioning(store, bucket, is_kept=True)


def suspend_versions(store: ObjectStore, bucket: str) -> None:
    _set_versioning(store, bucket, is_kept=False)


def _set_versioning(store: ObjectStore, bucket: str, is_kept: bool) -> None:
    if isinstance(store, MemoryStore):
        (store.keep_versions if is_kept else store.suspend_versions)(bucket)
        return
    assert isinstance(store, S3Store)
    store.client.put_bucket_versioning(
        Bucket=bucket,
        VersioningConfiguration={"Status": "Enabled" if is_kept else "Suspended"},
    )


def versions(store: ObjectStore, bucket: str) -> list[tuple[str, str, bool]]:
    """Everything that the bucket keeps: keys, versions, and whether it is a delete
    marker.
    """
    if isinstance(store, MemoryStore):
        return [
            (key, version, data is None)
            for key, version, data in store.versions(bucket)
        ]
    assert isinstance(store, S3Store)
    listed = store.client.list_object_versions(Bucket=bucket)
    kept = [
        (entry["Key"], entry["VersionId"], False)
        for entry in listed.get("Versions", [])
    ]
    return kept + [
        (entry["Key"], entry["VersionId"], True)
        for entry in listed.get("DeleteMarkers", [])
    ]


def drop_bucket(store: ObjectStore, bucket: str) -> None:
    if isinstance(store, MemoryStore):
        return
    assert isinstance(store, S3Store)
    for key, version, _ in versions(store, bucket):
        store.client.delete_object(Bucket=bucket, Key=key, VersionId=version)
    store.client.delete_bucket(Bucket=bucket)


def put_in_parts(
    store: ObjectStore, bucket: str, key: str, parts: Sequence[bytes]
) -> None:
    """As clients send what is large."""
    if isinstance(store, MemoryStore):
        store.complete(store.begin(bucket, key), parts, "image/png", {"user": "u"})
        return
    assert isinstance(store, S3Store)
    client = store.client
    begun = client.create_multipart_upload(
        Bucket=bucket, Key=key, ContentType="image/png", Metadata={"user": "u"}
    )
    sent = [
        client.upload_part(
            Bucket=bucket,
            Key=key,
            UploadId=begun["UploadId"],
            PartNumber=number,
            Body=part,
        )["ETag"]
        for number, part in enumerate(parts, 1)
    ]
    client.complete_multipart_upload(
        Bucket=bucket,
        Key=key,
        UploadId=begun["UploadId"],
        MultipartUpload={
            "Parts": [
                {"ETag": etag, "PartNumber": number}
                for number, etag in enumerate(sent, 1)
            ]
        },
    )
