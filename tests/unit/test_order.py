"""The order of the test files for several workers."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.support.order import LONGEST, TESTS, TOGETHER, beside_each_other, unit


def item(name: str, number: int) -> Any:
    return SimpleNamespace(path=TESTS / name, number=number)


def test_files_that_wait_lie_between_those_that_compute() -> None:
    """The longest comes first, no test is lost, and each file's stay together."""
    names = ["contract/a.py", "system/b.py", "unit/c.py", "unit/d.py", "unit/e.py"]
    names.append(LONGEST[3])
    items = [item(name, number) for number in range(2) for name in names]
    ordered = beside_each_other(items)
    assert [str(Path(each.path).relative_to(TESTS)) for each in ordered[::2]] == [
        LONGEST[3],
        "unit/c.py",
        "system/b.py",
        "unit/d.py",
        "contract/a.py",
        "unit/e.py",
    ]
    assert [each.number for each in ordered] == [0, 1] * 6  # type: ignore[attr-defined]


def test_files_of_one_server_are_one_unit() -> None:
    assert unit("tests/contract/test_ceph.py::test_a[x::y]") == "ceph"
    assert unit("tests/contract/test_storage.py::test_b") == "ceph"
    assert unit("tests/contract/test_api.py::test_c") == "contract/test_api.py"


def test_the_files_that_are_named_exist() -> None:
    named = {*LONGEST, *chain.from_iterable(TOGETHER.values())}
    assert [name for name in named if not (TESTS / name).is_file()] == []
