"""A stranger's client: boto3, SQL and HTTP, with nothing of Darkroom but the words of
its contracts.
"""

from __future__ import annotations

import io
import json
from typing import Any
from uuid import uuid4

import boto3
import numpy as np
import psycopg2
from botocore.exceptions import ClientError
from PIL import Image
from psycopg2.extras import RealDictCursor

from tests.support.waiting import eventually

PATIENCE_S = 150.0
"""Of everything that a stack does by itself, a restart of one of its servers included.
"""


def photo(
    width: int = 40,
    height: int = 30,
    seed: int | None = None,
    kind: str = "PNG",
    mode: str = "RGB",
) -> bytes:
    """A small picture of smooth noise; its own bytes for every seed, fresh ones
    without.
    """
    rng = np.random.default_rng(uuid4().int % 2**32 if seed is None else seed)
    rough = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    image = (
        Image.fromarray(rough)
        .resize((width, height), Image.Resampling.BICUBIC)
        .convert(mode)
    )
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


class Client:
    """What `darkroom env` prints is all that it knows."""

    def __init__(self, env: dict[str, str]) -> None:
        self.s3 = boto3.client(
            "s3",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            region_name=env["AWS_REGION"],
        )
        self._database_url = env["DARKROOM_DATABASE_URL"]

    def put(self, key: str, data: bytes, **metadata: str) -> str:
        """Upload; the ETag."""
        answer = self.s3.put_object(
            Bucket="uploads", Key=key, Body=data, Metadata=metadata
        )
        return str(answer["ETag"]).strip('"')

    def read(self, bucket: str, key: str) -> bytes | None:
        try:
            data: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError:
            return None
        return data

    def json(self, bucket: str, key: str) -> dict[str, Any] | None:
        data = self.read(bucket, key)
        return json.loads(data) if data else None

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix
        )
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def receipt(self, upload_id: str) -> dict[str, Any]:
        return eventually(
            lambda: self.json("results", f"receipts/{upload_id}.json"),
            f"receipt {upload_id}",
            PATIENCE_S,
        )

    def record(self, upload_id: str) -> dict[str, Any]:
        task_id = self.receipt(upload_id)["task_id"]
        return eventually(
            lambda: self.json("results", f"processed/{task_id}.json"),
            f"record {task_id}",
            PATIENCE_S,
        )

    def reason(self, upload_id: str) -> dict[str, Any]:
        return eventually(
            lambda: self.json("quarantine", f"{upload_id}/reason.json"),
            f"reason {upload_id}",
            PATIENCE_S,
        )

    def result(self, upload_id: str) -> Image.Image:
        data = self.read("results", self.record(upload_id)["result_key"])
        assert data is not None
        return Image.open(io.BytesIO(data))

    def rows(self, condition: str = "true", *values: Any) -> list[dict[str, Any]]:
        connection = psycopg2.connect(self._database_url)
        try:
            with connection.cursor(cursor_factory=RealDictCursor) as cursor:
                cursor.execute(
                    f"select * from darkroom.restoration_log where {condition}", values
                )
                return [dict(row) for row in cursor.fetchall()]
        finally:
            connection.close()

    def row(self, upload_id: str, *statuses: str) -> dict[str, Any]:
        """The upload's only row, once it has one of `statuses`."""

        def look() -> dict[str, Any] | None:
            rows = self.rows("upload_id = %s", upload_id)
            assert len(rows) <= 1
            return rows[0] if rows and rows[0]["status"] in statuses else None

        return eventually(look, f"row {upload_id} {statuses}", PATIENCE_S)
