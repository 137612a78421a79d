"""The table of steps agrees with the modules and with the workflows' schema."""

from __future__ import annotations

import importlib
from typing import get_args

import pytest

from gpu_worker import steps
from shared.workflows import StepKind


def test_every_kind_of_a_workflow_is_in_the_table() -> None:
    assert set(steps.KINDS) == set(get_args(StepKind))


@pytest.mark.parametrize("name", steps.MODULES.values())
def test_every_module_of_the_table_has_a_run(name: str) -> None:
    module = importlib.import_module(f"gpu_worker.steps.{name}")
    assert callable(module.run)
