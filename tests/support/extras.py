"""Tests of an optional part are skipped where it is not installed, and fail in CI,
which installs all of them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

from gpu_worker.engines import kernels
from shared.runtime.installation import how_to_add


def needs(package: str, extra: str) -> None:
    """Call at the top of a test module, or in a test."""
    if importlib.util.find_spec(package) is None:
        without(f"{package} is not installed; {how_to_add(extra)}")


def needs_program(name: str, package: str) -> None:
    """Call where a program of the system checks a result; `.ci/run` installs it."""
    if shutil.which(name) is None:
        without(f"{name} is not installed; `apt-get install {package}`")


def needs_kernels() -> None:
    """Call where our own convolutions are tested; CI has a C compiler."""
    if kernels.best() is None:
        without(
            "the kernels were not compiled; install a C compiler, then `pip install -e .`"
        )


def without(reason: str) -> None:
    """Skip the test or the module; in CI fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
