"""Makes `tests/data/old_state.tar.xz`: the state directory of a stack of commit
9eef664, as its `down` left it.

    python -m tests.support.old_state PYTHON

PYTHON is the interpreter of a virtual environment in which a checkout of that commit is
installed. Two photos were restored (one by the bucket, one through the API by a key's
ticket), and a text was refused. What must still be there after an upgrade is in
`expected.json` beside the state. PostgreSQL was stopped, and its write-ahead log begun
anew (`pg_resetwal`, segments of 1 MB), which takes nothing from the data; logs and pids
are left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import boto3
import httpx
from PIL import Image

from infra.local.postgres import HERE, USER, binaries
from infra.local.program import as_user
from tests.support.waiting import eventually

ARCHIVE = Path(__file__).parents[1] / "data" / "old_state.tar.xz"
KEPT = {"uploads": "", "quarantine": "", "results": "processed/"}
"""Bucket → what must lie there unchanged."""
REQUEST = {
    "filename": "second.png",
    "content_type": "image/png",
    "workflow": "fast",
    "params": {"scale": 2},
}
IDEMPOTENCY = "of-the-second-photo"


def photo(shade: int) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((48, 32)).point(
        lambda value: (value + shade) % 256
    ).save(file, "PNG")
    return file.getvalue()


def contents(environment: dict[str, str]) -> dict[str, str]:
    """Bucket and key → SHA-256, of all that an upgrade leaves as it is."""
    s3 = boto3.client(
        "s3",
        endpoint_url=environment["DARKROOM_S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=environment["DARKROOM_S3_ACCESS_KEY"],
        aws_secret_access_key=environment["DARKROOM_S3_SECRET_KEY"],
    )
    found = {}
    for bucket, prefix in KEPT.items():
        for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get(
            "Contents", []
        ):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            found[f"{bucket}/{entry['Key']}"] = hashlib.sha256(body).hexdigest()
    return found


def make(python: str, folder: Path) -> dict[str, Any]:
    """Run a stack of that commit in `folder`; returns what must outlive an upgrade."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DARKROOM_")
    }
    env["DARKROOM_STATE_DIR"] = str(folder)

    def darkroom(*arguments: str) -> str:
        return subprocess.run(
            [python, "-P", "-m", "infra.cli", *arguments],
            env=env,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout

    darkroom("up", "--detach")
    try:
        lines = (
            line.split("=", 1)
            for line in (folder / "stack.env").read_text().splitlines()
        )
        stack = {name: value.strip("'") for name, value in lines}
        url = stack["DARKROOM_API_URL"]
        with tempfile.TemporaryDirectory() as sent:
            (Path(sent) / "first.png").write_bytes(photo(0))
            darkroom(
                "submit",
                f"{sent}/first.png",
                "--workflow=fast",
                '--params={"scale": 2}',
                "--wait",
            )
            (Path(sent) / "broken.png").write_bytes(b"no photo at all")
            subprocess.run(
                [
                    python,
                    "-P",
                    "-m",
                    "infra.cli",
                    "submit",
                    f"{sent}/broken.png",
                    "--wait",
                ],
                env=env,
            )
        key = json.loads(
            darkroom("keys", "create", "--user=ann", "--expires=never", "--json")
        )["key"]
        api = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60
        )
        data = photo(100)
        ticket = (
            api.post(
                "/v1/uploads",
                json=REQUEST | {"bytes": len(data)},
                headers={"Idempotency-Key": IDEMPOTENCY},
            )
            .raise_for_status()
            .json()
        )
        form = ticket["post"]
        httpx.post(
            form["url"], data=form["fields"], files={"file": ("second.png", data)}
        ).raise_for_status()

        def row_of_the_second() -> bool:
            state = api.get(f"/v1/uploads/{ticket['ticket']}").json()
            return (
                state["status"] == "success"
                and len(json.loads(darkroom("tasks", "--json"))) == 3
            )

        eventually(row_of_the_second, "the second photo", 120)
        rows = json.loads(darkroom("tasks", "--json"))
        assert sorted(row["status"] for row in rows) == [
            "rejected",
            "success",
            "success",
        ]
        task = api.get(f"/v1/uploads/{ticket['ticket']}").json()["task_id"]
        return {
            "key": key,
            "ticket": ticket["ticket"],
            "task": task,
            "rows": rows,
            "contents": contents(stack),
        }
    finally:
        darkroom("down")


def main(python: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o755)
        folder = Path(home) / "state"
        expected = make(python, folder)
        as_owner = as_user(USER) if os.geteuid() == 0 else {}
        command = [str(binaries() / "pg_resetwal"), "--wal-segsize=1", "-D", HERE]
        subprocess.run(command, check=True, cwd=folder / "postgres", **as_owner)
        (folder / "expected.json").write_text(json.dumps(expected, indent=2))
        ARCHIVE.parent.mkdir(exist_ok=True)
        with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
            for path in sorted(folder.rglob("*")):
                name = path.relative_to(folder)
                if name.parts[0] not in ("logs", "run") and (
                    path.is_file() or path.is_dir()
                ):
                    archive.add(path, str(name), recursive=False)


if __name__ == "__main__":
    main(sys.argv[1])
