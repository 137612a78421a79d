"""Content credentials beside a result, where `DARKROOM_C2PA_SIGN` asks for them: made of
the encoded result, stored at a key of their own, and named in the record.

The result's bytes stay the same: a signature differs each time that it is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from gpu_worker.codec.metadata import C2PA_LEFT_OUT
from gpu_worker.pipeline import metrics
from gpu_worker.pipeline.context import Context
from gpu_worker.pipeline.job import Job
from gpu_worker.pipeline.prepare import fetch
from gpu_worker.pixels import scratch
from shared.errors import DarkroomError, NotFound, PermanentError
from shared.runtime.breaker import Breaker
from shared.runtime.heartbeat import own
from shared.runtime.installation import missing_library
from shared.runtime.retry import RetryPolicy
from shared.runtime.settings import CredentialSettings
from shared.runtime.telemetry import logger
from shared.uploads import keys
from shared.uploads.documents import Credentials, Record

if TYPE_CHECKING:
    from shared.credentials.identity import Identity

MEDIA_TYPE = "application/c2pa"
SLOW_S = 10.0
"""A signature that fails only after so long waited for somebody: for the authority of time
stamps, or for the key.
"""
POLICY = RetryPolicy(base_s=60.0, cap_s=600.0)
"""How long nobody waits for them then. Photos go on without."""
NOT_MADE = "no content credentials were made; the worker's log says why"


class Sidecars:
    """Signs one result after another."""

    def __init__(self, ctx: Context, identity: Identity) -> None:
        self._clock = ctx.clock
        self._settings = ctx.settings
        self._bucket = ctx.settings.bucket_results
        self._objects = ctx.store
        self._identity = identity
        self._circuit = Breaker(POLICY, monotonic=ctx.clock.monotonic)

    def make(self, job: Job, record: Record, file: IO[bytes] | None) -> None:
        """Sign the result that is stored and that `record` describes; `file` holds it,
        unless an earlier attempt encoded another one.

        A signature that cannot be made costs nothing but itself, and is noted. Raises
        `TransientError` where the disk is full or the store is away.
        """
        began_s = self._clock.monotonic()
        with scratch.disk(self._settings), self._file() as out:
            with (
                self._asset(record, file) as asset,
                self._original(job) as original,
            ):
                notes = self._signed(record, asset, original, out)
            if notes is None:
                job.notes.append(NOT_MADE)
                metrics.CREDENTIALS.labels(outcome="failed").inc()
                return
            job.notes += notes
            job.credentials = self._stored(record, out)
        metrics.CREDENTIALS.labels(outcome="made").inc()
        seconds = self._clock.monotonic() - began_s
        metrics.STEP_SECONDS.labels(step="sign").observe(seconds)

    def _signed(
        self,
        record: Record,
        asset: IO[bytes],
        original: IO[bytes] | None,
        out: IO[bytes],
    ) -> list[str] | None:
        """What is to be told; None: it could not be signed."""
        from shared.credentials.signing import sign

        if self._circuit.admit():
            return None
        key = record.result_key
        began_s = self._clock.monotonic()
        try:
            with own().waiting():
                notes = sign(
                    self._identity, record, key, asset, original, out, embeds=False
                )
        except Exception as error:  # whatever signer or library makes of one photo
            if self._clock.monotonic() - began_s > SLOW_S:
                self._circuit.failed()
            else:
                self._circuit.answered()
            detail = error.detail if isinstance(error, DarkroomError) else str(error)
            logger().warning(
                "credentials.not_made",
                task_id=record.task_id,
                error=type(error).__name__,
                detail=detail,
            )
            return None
        self._circuit.answered()
        return notes

    def _stored(self, record: Record, out: IO[bytes]) -> Credentials:
        """Store a sidecar, unless an earlier attempt stored one of the same result: then
        that stands.
        """
        out.seek(0)
        data = out.read()
        ours = Credentials(
            key=keys.credentials(record.task_id),
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            result_sha256=record.result_sha256,
            subject=self._identity.name,
            certificate_sha256=self._identity.fingerprint,
            algorithm=self._identity.algorithm,
            signed_at=self._clock.now(),
        )
        put = (self._bucket, ours.key, data, MEDIA_TYPE, ours.metadata())
        if self._objects.put_new(*put):
            return ours
        earlier = self._earlier(ours.key)
        if earlier and earlier.result_sha256 == ours.result_sha256:
            return earlier
        self._objects.put(*put)
        return ours

    def _earlier(self, key: str) -> Credentials | None:
        with suppress(NotFound):  # deleted between the two requests
            return Credentials.of_object(self._objects.head(self._bucket, key))
        return None

    @contextmanager
    def _asset(self, record: Record, file: IO[bytes] | None) -> Iterator[IO[bytes]]:
        """The result that stands, as a file on the disk."""
        if file is not None:
            # What waits in memory goes to the disk with this.
            file.fileno()
            file.flush()
            yield file
            return
        with self._file() as stored:
            key = keys.result(record.task_id)
            with self._objects.open(self._bucket, key) as stream:
                for chunk in stream.chunks():
                    own().beat()
                    stored.write(chunk)
            stored.flush()
            yield stored

    @contextmanager
    def _original(self, job: Job) -> Iterator[IO[bytes] | None]:
        """The original, where it has credentials of its own to be carried along; the
        others are named by their ids alone, and so need no second look.
        """
        assert job.restored is not None
        if C2PA_LEFT_OUT not in job.restored.photo.notes:
            yield None
            return
        with self._file() as file:
            try:
                file.write(fetch(self._objects, job.receipt.source))
            except PermanentError:  # deleted or overwritten meanwhile
                yield None
                return
            file.flush()
            yield file

    def _file(self) -> IO[bytes]:
        return TemporaryFile(dir=self._settings.scratch_dir)


def of_settings(ctx: Context) -> Sidecars | None:
    """What signs by the settings; None: nothing does. Called at start.

    Raises `SettingsError` where the library, the certificate or its key is missing, or
    cannot be used.
    """
    if ctx.settings.c2pa_sign == "off":
        return None
    identity = _identity(ctx.settings)
    if identity.warning:
        logger().warning("credentials.will_end", detail=identity.warning)
    return Sidecars(ctx, identity)


def _identity(settings: CredentialSettings) -> Identity:
    if find_spec("c2pa") is None:
        raise missing_library("c2pa", "c2pa", "DARKROOM_C2PA_SIGN=sidecar")
    # The library's own needs come with the extra.
    from shared.credentials import identity

    return identity.load(settings)
