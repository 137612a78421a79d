"""Workflows are data: `presets/*.json`, versioned, validated at load, resolved into
what a worker executes.

A workflow is an ordered list of steps, each with its model and its parameters.
Parameter names are unique within a workflow, so that a caller passes one flat object:
`{"model_size": 512, "scale": 2}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from shared import models
from shared.errors import Code, NotFound, PermanentError
from shared.uploads import identity
from shared.uploads.documents import ModelRef, WorkflowRef

PRESETS = Path(__file__).parent / "presets"

StepKind = Literal["colorize", "denoise", "faces", "dehaze", "upscale", "finish"]


OWN_STEP = {"ddcolor": "colorize", "gfpgan": "faces"}
"""Architectures that only one step can use, and that it needs."""


class Parameter(BaseModel):
    """One parameter: its type, range and default, in the words of JSON Schema."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["integer", "number", "string", "boolean"]
    default: int | float | str | bool
    description: str
    minimum: float | None = None
    maximum: float | None = None
    enum: list[int | float | str] | None = None

    def check(self, name: str, value: Any) -> Any:
        """`value` in the parameter's own type. Raises `PermanentError(bad_parameter)`
        naming the range.
        """
        kinds: dict[str, tuple[type, ...]] = {
            "integer": (int,),
            "number": (int, float),
            "string": (str,),
            "boolean": (bool,),
        }
        fits = isinstance(value, kinds[self.type]) and (
            self.type == "boolean" or not isinstance(value, bool)
        )
        if fits and self.enum is not None:
            fits = value in self.enum
        if fits and self.minimum is not None:
            fits = value >= self.minimum
        if fits and self.maximum is not None:
            fits = value <= self.maximum
        if not fits:
            raise PermanentError(
                Code.BAD_PARAMETER, f"{name}={value!r} is not {self.rule()}"
            )
        # 4 and 4.0 are the same number and must give the same signature.
        return float(value) if self.type == "number" else value

    def rule(self) -> str:
        """The rule as words: `an integer from 460 to 680 (default 512)`."""
        if self.enum is not None:
            allowed = "one of " + ", ".join(map(str, self.enum))
        else:
            allowed = f"{'an' if self.type == 'integer' else 'a'} {self.type}"
            if self.minimum is not None or self.maximum is not None:
                allowed += f" from {self.minimum:g} to {self.maximum:g}"
        return f"{allowed} (default {self.default})"


class Step(BaseModel):
    """One step. `model_from` names its parameter that may choose another model of the
    registry than `model`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: StepKind
    model: str | None = None
    model_from: str | None = None
    params: dict[str, Parameter] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Step:
        if self.model_from and (
            self.model_from not in self.params
            or self.params[self.model_from].default != self.model
        ):
            raise ValueError(
                f"step {self.step}: parameter {self.model_from!r} must exist, its default be {self.model!r}"
            )
        return self


class Workflow(BaseModel):
    """One preset file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    title: str
    description: str
    steps: list[Step]

    @model_validator(mode="after")
    def _consistent(self) -> Workflow:
        names = [name for step in self.steps for name in step.params]
        if len(names) != len(set(names)):
            raise ValueError(
                f"parameter names repeat in workflow {self.name!r}: {sorted(names)}"
            )
        for name, parameter in self.parameters().items():
            parameter.check(name, parameter.default)
        return self

    def parameters(self) -> dict[str, Parameter]:
        return {
            name: parameter
            for step in self.steps
            for name, parameter in step.params.items()
        }

    def params_schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters object."""
        properties = {
            n: p.model_dump(exclude_none=True) for n, p in self.parameters().items()
        }
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class ResolvedStep:
    kind: StepKind
    model: models.Model | None
    params: Mapping[str, Any]


@dataclass(frozen=True)
class ResolvedWorkflow:
    """A workflow with every parameter and every model fixed; `ref.signature` names
    exactly this.
    """

    ref: WorkflowRef
    steps: tuple[ResolvedStep, ...]

    @property
    def models(self) -> list[ModelRef]:
        return [
            ModelRef(name=s.model.name, sha256=s.model.sha256)
            for s in self.steps
            if s.model
        ]

    @property
    def scale(self) -> float:
        """Output side over input side."""
        scale = 1.0
        for step in self.steps:
            scale *= float(step.params.get("scale", 1.0))
        return scale


@cache
def presets() -> dict[str, Workflow]:
    """All presets by name. A file that breaks the schema is a `ValueError` at start,
    naming the file.
    """
    found = {}
    for path in sorted(PRESETS.glob("*.json")):
        try:
            workflow = Workflow.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"workflow file {path.name}: {error}") from error
        if workflow.name != path.stem:
            raise ValueError(
                f"workflow file {path.name} is named {workflow.name!r} inside"
            )
        found[workflow.name] = workflow
    return found


def resolve(name: str, params: Mapping[str, Any] | None = None) -> ResolvedWorkflow:
    """Fix every parameter and model of workflow `name`.

    Raises `PermanentError`: `unknown_workflow` with the known names, `bad_parameter`
    with the rule.
    """
    workflow = presets().get(name)
    if workflow is None:
        raise PermanentError(
            Code.UNKNOWN_WORKFLOW,
            f"no workflow {name!r}; there are {', '.join(presets())}",
        )
    known = workflow.parameters()
    given = dict(params or {})
    if unknown := sorted(set(given) - set(known)):
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"workflow {name!r} has no parameter {unknown[0]!r}; it has {', '.join(known) or 'none'}",
        )
    values = {
        key: spec.check(key, given.get(key, spec.default))
        for key, spec in known.items()
    }
    chosen = [_model(step, values) for step in workflow.steps]
    for step, model in zip(workflow.steps, chosen, strict=True):
        if model and "scale" in step.params:
            values["scale"] = _scale(values["scale"], model, asked="scale" in given)
    steps = tuple(
        ResolvedStep(step.step, model, {k: values[k] for k in step.params})
        for step, model in zip(workflow.steps, chosen, strict=True)
    )
    checksums = {step.model.name: step.model.sha256 for step in steps if step.model}
    fixed = {
        "name": name,
        "version": workflow.version,
        "params": values,
        "models": checksums,
    }
    ref = WorkflowRef(
        name=name,
        version=workflow.version,
        params=values,
        signature=identity.signature(fixed),
    )
    return ResolvedWorkflow(ref, steps)


def _model(step: Step, values: Mapping[str, Any]) -> models.Model | None:
    name = values[step.model_from] if step.model_from else step.model
    if name is None:
        return None
    try:
        model = models.get(name)
    except NotFound as error:
        if name == step.model:
            raise
        raise PermanentError(
            Code.BAD_PARAMETER, f"{step.model_from}={name!r}: {error.detail}"
        ) from error
    own = step.step if step.step in OWN_STEP.values() else None
    if OWN_STEP.get(model.architecture) != own:
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"{step.model_from}={name!r} is no model for the step {step.step}",
        )
    return model


def _scale(scale: float, model: models.Model, asked: bool) -> float:
    """No larger than the model's own; a larger one that was asked for is refused."""
    if scale > model.scale and asked:
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"scale={scale:g} is more than the {model.scale} of model {model.name}",
        )
    return min(scale, float(model.scale))
