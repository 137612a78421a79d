"""Worker processes of which a test changes one thing, before any of it is imported; its
decoder stays as it is.

And buckets of a test's own for them, so that nothing that other tests left is looked
at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from handlers.context import Context
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from tests.support.admin import as_admin

GATES = """
import pathlib, time
from shared.runtime import failpoints
folder, points, original = pathlib.Path({folder!r}), {points!r}, failpoints.passing
def passing(name):
    original(name)
    if name in points:
        (folder / f"{{name}}.{{os.getpid()}}").touch()
        while not (folder / f"{{name}}.open").exists():
            time.sleep(0.01)
failpoints.passing = passing
"""


@contextmanager
def patched(
    folder: Path, code: str, environment: dict[str, str] | None = None
) -> Iterator[None]:
    """Workers that start meanwhile run `code` first, in `environment`."""
    folder.mkdir(exist_ok=True)
    guarded = "".join(f"    {line}\n" for line in code.splitlines())
    (folder / "sitecustomize.py").write_text(
        f"import os, sys\nif 'gpu_worker' in sys.orig_argv:\n{guarded}"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PYTHONPATH": str(folder), **(environment or {})}.items():
            patch.setenv(name, value)
        yield


class Gates:
    """Failpoints at which every worker waits until the gate is opened: so that several
    stand at the same point.
    """

    def __init__(self, folder: Path, *points: str) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.code = GATES.format(folder=str(folder), points=points)

    def there(self, point: str) -> set[int]:
        """The pids of those that have come so far."""
        return {int(path.suffix[1:]) for path in self._folder.glob(f"{point}.[0-9]*")}

    def open(self, point: str) -> None:
        (self._folder / f"{point}.open").touch()


@contextmanager
def buckets(
    ctx: Context, *names: str, versions: bool = False, **changes: Any
) -> Iterator[Context]:
    """`ctx` with fresh buckets of these names (`results`) and `changes` of settings.
    They are removed at the end.
    """
    own = {f"bucket_{name}": f"{name}-{uuid4().hex[:8]}" for name in names}
    settings = as_admin(ctx.settings)
    client = S3Store(settings).client
    for bucket in own.values():
        client.create_bucket(Bucket=bucket)
        if versions:
            client.put_bucket_versioning(
                Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
            )
    yield Context.of(Settings.model_validate(settings.model_dump() | own | changes))
    for bucket in own.values():
        listed = client.list_object_versions(Bucket=bucket)
        for entry in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            client.delete_object(
                Bucket=bucket, Key=entry["Key"], VersionId=entry["VersionId"]
            )
        client.delete_bucket(Bucket=bucket)
