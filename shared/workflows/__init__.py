"""Workflows are data: presets, validated when they are read, and resolved into what a
worker executes.

A workflow is an ordered list of steps, each with its model and its parameters.
Parameter names are unique within a workflow, so that a caller passes one flat object:
`{"model_size": 512, "scale": 2}`.
"""

from shared.workflows.gates import Gates, gates
from shared.workflows.own import OwnWorkflow, Shelf, use
from shared.workflows.registry import PRESETS, presets
from shared.workflows.resolution import (
    ResolvedStep,
    ResolvedWorkflow,
    Usual,
    asked,
    check_usual,
    fault_of,
    find,
    offered,
    own_faults,
    resolve,
)
from shared.workflows.schema import Parameter, Step, StepKind, Workflow

__all__ = [
    "PRESETS",
    "Gates",
    "OwnWorkflow",
    "Parameter",
    "ResolvedStep",
    "ResolvedWorkflow",
    "Shelf",
    "Step",
    "StepKind",
    "Usual",
    "Workflow",
    "asked",
    "check_usual",
    "fault_of",
    "find",
    "gates",
    "offered",
    "own_faults",
    "presets",
    "resolve",
    "use",
]
