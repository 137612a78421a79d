"""Many photos of which a real store refuses one key each, all at once, before a real
worker and real sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from handlers.context import Context
from handlers.intake.notifications import UploadEvent
from handlers.on_sweep import Memory, on_sweep
from handlers.on_upload import on_upload
from shared.errors import Code, DarkroomError, NotFound
from shared.runtime.retry import RetryPolicy
from shared.s3 import client, http
from shared.uploads import keys
from shared.uploads.documents import Reason, Receipt
from shared.uploads.ref import upload_id_of
from tests.support.client import photo
from tests.support.fault_proxy import Fault, fault_proxy
from tests.support.patched import buckets, patched
from tests.support.waiting import eventually
from tests.system.test_worker_pressure import Worker, ctx, record, upload  # noqa: F401

LIMITS: dict[str, Any] = {
    "lease_s": 4.0,
    "retry_base_s": 0.1,
    "retry_cap_s": 0.5,
    "max_attempts": 2,
    "max_crashes": 100,
}
SILENCE_S = 1.0
SHORT = f"""
from gpu_worker.pipeline import retrying
from shared.s3 import client, http
from shared.runtime.retry import RetryPolicy
http.READ_S = client.READ_S = {SILENCE_S}
retrying.HUNG_S = {SILENCE_S / 2}
http.RETRY = RetryPolicy(0.01, 0.01, 3)
retrying.POLICY = RetryPolicy(0.01, 0.05)
"""
KINDS = {
    "forbidden": Fault(403, "AccessDenied"),
    "lost": Fault(404, "NoSuchKey"),
    "bad": Fault(400, "InvalidRequest"),
    "broken": Fault(500, "InternalError"),
    "busy": Fault(503, "SlowDown"),
    "cut": Fault(200),
    "silent": Fault(200, hangs=True),
}
UNREADABLE, EXHAUSTED = Code.SOURCE_UNREADABLE, Code.ATTEMPTS_EXHAUSTED
CASES: list[tuple[str, str, str, Code | None]] = [
    ("upload", "GET", "forbidden", UNREADABLE),
    ("upload", "GET", "lost", Code.SOURCE_MISSING),
    ("upload", "GET", "broken", UNREADABLE),
    ("upload", "GET", "busy", UNREADABLE),
    ("upload", "GET", "cut", UNREADABLE),
    ("upload", "GET", "silent", UNREADABLE),
    ("receipt", "PUT", "forbidden", None),
    ("receipt", "PUT", "busy", None),
    ("receipt", "GET", "bad", None),
    ("receipt", "GET", "broken", None),
    ("receipt", "GET", "cut", None),
    ("receipt", "GET", "silent", None),
    ("claim", "PUT", "forbidden", None),
    ("claim", "PUT", "lost", None),
    ("claim", "PUT", "busy", None),
    ("claim", "PUT", "silent", None),
    ("claim", "GET", "broken", None),
    ("preview", "PUT", "broken", EXHAUSTED),
    ("result", "PUT", "busy", EXHAUSTED),
    ("result", "PUT", "silent", EXHAUSTED),
    ("record", "PUT", "forbidden", EXHAUSTED),
    ("record", "HEAD", "forbidden", None),
    ("record", "GET", "busy", UNREADABLE),
    ("reason", "PUT", "forbidden", None),
    ("reason", "PUT", "silent", None),
    ("reason", "GET", "broken", None),
]
"""What is refused, how, and how the photo ends while that lasts; None: it waits, or is
restored all the same.
"""


@dataclass(frozen=True)
class Spoilt:
    """A photo, what is refused of it, and with what it ends meanwhile."""

    what: str
    fault: Fault
    code: Code | None
    key: str
    upload_id: str

    @property
    def is_told(self) -> bool:
        """Whether the handler could decide on it: its receipt is refused later, if at
        all.
        """
        return (self.what, self.fault.methods) != ("receipt", ("PUT",))


@pytest.fixture
def own(ctx: Context) -> Iterator[Context]:
    with buckets(ctx, "uploads", "results", "quarantine", **LIMITS) as own:
        yield own


def brought(
    ctx: Context, case: tuple[str, str, str, Code | None], number: int
) -> Spoilt:
    what, method, kind, code = case
    bucket, key = (
        ctx.settings.bucket_uploads,
        f"{number:02d}-{what}-{method}-{kind}.png",
    )
    ctx.store.put(
        bucket, key, photo(12, 10), "image/png", {"user": f"user-{number % 5}"}
    )
    return Spoilt(
        what,
        replace(KINDS[kind], methods=(method,)),
        code,
        key,
        upload_id_of(ctx.store.head(bucket, key)),
    )


def receipt(ctx: Context, one: Spoilt) -> Receipt | None:
    key = keys.receipt(one.upload_id)
    with suppress(NotFound):
        return Receipt.from_bytes(ctx.store.read(ctx.settings.bucket_results, key), key)
    return None


def place(ctx: Context, one: Spoilt) -> str:
    found, settings = receipt(ctx, one), ctx.settings
    task = found.task_id or "" if found else ""
    places = {
        "receipt": keys.receipt(one.upload_id),
        "claim": keys.claim(task, 1),
        "preview": keys.preview(task),
        "result": keys.result(task),
        "record": keys.record(task),
    }
    if one.what == "upload":
        return f"{settings.bucket_uploads}/{one.key}"
    if one.what == "reason":
        return f"{settings.bucket_quarantine}/{keys.reason(one.upload_id)}"
    return f"{settings.bucket_results}/{places[one.what]}"


def reason(ctx: Context, one: Spoilt) -> Reason | None:
    key = keys.reason(one.upload_id)
    with suppress(NotFound):
        return Reason.from_bytes(
            ctx.store.read(ctx.settings.bucket_quarantine, key), key
        )
    return None


def has_ended(ctx: Context, one: Spoilt) -> bool:
    found = receipt(ctx, one)
    return (
        found is not None
        and (reason(ctx, one) or record(ctx, found.task_id or "")) is not None
    )


def test_each_costs_itself_alone(
    own: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The photos between them are restored; those that cannot be end with a reason, the
    others once it is over.
    """
    for module in (http, client):
        monkeypatch.setattr(module, "READ_S", SILENCE_S)
    monkeypatch.setattr(http, "RETRY", RetryPolicy(0.01, 0.01, 3))
    bucket, port = (
        own.settings.bucket_uploads,
        int(own.settings.s3_endpoint_url.rpartition(":")[2]),
    )
    for number in range(20):  # a store that gives no other is away
        for filled in (own.settings.bucket_results, own.settings.bucket_quarantine):
            own.store.put(filled, f".darkroom/{number}", b"1", "text/plain")
    with fault_proxy(port) as proxy:
        front = f"http://127.0.0.1:{proxy.port}"
        ours = Context.of(own.settings.model_copy(update={"s3_endpoint_url": front}))
        spoilt, good = [], []
        for number, case in enumerate(CASES):
            one = brought(own, case, number)
            spoilt.append(one)
            if not one.is_told:
                proxy.faults[place(own, one)] = one.fault
            with suppress(DarkroomError):
                on_upload(UploadEvent(bucket, one.key, "create"), ours)
            assert (receipt(own, one) is not None) == one.is_told
            if one.what == "reason":
                own.store.delete(bucket, one.key)
            proxy.faults[place(own, one)] = one.fault
            if number % 2:
                good.append(upload(own, 14, 10))
        memory = Memory()

        def sweeps_until(holds: Callable[[], bool], what: str) -> None:
            eventually(
                lambda: on_sweep(ours, memory=memory).seconds >= 0 and holds(),
                what,
                240,
            )

        with (
            patched(tmp_path / "code", SHORT),
            Worker(own, s3_endpoint_url=front) as worker,
        ):
            sweeps_until(
                lambda: all(record(own, task) for task in good),
                "the photos between them",
            )
            lasting = [one for one in spoilt if one.code]
            sweeps_until(
                lambda: all(reason(own, one) for one in lasting), "the reasons"
            )
            assert {
                one.key: told.error_code
                for one in lasting
                if (told := reason(own, one))
            } == {one.key: one.code for one in lasting}
            proxy.faults.clear()
            sweeps_until(
                lambda: all(has_ended(own, one) for one in spoilt), "the ends of all"
            )
            assert worker.process.poll() is None
            assert not worker.said("service.lost")
            assert not worker.said("process.stuck")
