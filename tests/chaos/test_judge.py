"""The judge of results without a record: only those that the sweep will retire are no
finding.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shared.uploads import keys
from tests.chaos import judge

TASK = "4489714b-5990-5559-9d00-a2fe235bc9b0"
RESULT = keys.result(TASK)


def found(reasons: list[str | None], record: str | None = None) -> Any:
    """A bucket with one result, and an upload of its task for each of `reasons`: how it
    ended, None: it did not.
    """
    numbered = {f"upload {n}": code for n, code in enumerate(reasons)}
    ended = {upload: code for upload, code in numbered.items() if code}
    return SimpleNamespace(
        versions={RESULT: 1, keys.record("another"): 1},
        records={TASK: SimpleNamespace(result_key=record)} if record else {},
        receipts={
            upload: SimpleNamespace(upload_id=upload, task_id=TASK)
            for upload in numbered
        },
        reasons={
            upload: SimpleNamespace(error_code=code) for upload, code in ended.items()
        },
    )


@pytest.mark.parametrize(
    "reasons",
    [
        pytest.param([], id="of no upload"),
        pytest.param([None], id="of an upload without an end"),
        pytest.param(["corrupt_image"], id="of an upload that failed"),
        pytest.param(["source_changed", None], id="a twin has no end"),
    ],
)
def test_a_result_that_stays_without_a_record_is_left_over(
    reasons: list[str | None],
) -> None:
    assert judge._orphans(found(reasons)) == ([RESULT], 0)


@pytest.mark.parametrize("code", judge.MISSING)
def test_a_result_of_a_source_that_is_gone_is_retired_by_the_sweep(code: str) -> None:
    assert judge._orphans(found([code])) == ([], 1)


def test_a_result_with_a_record_is_neither() -> None:
    assert judge._orphans(found(["source_changed"], record=RESULT)) == ([], 0)
