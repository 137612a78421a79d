"""Resolving: a workflow's name and some parameters become what a worker executes, with
every parameter and every model fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shared import models
from shared.errors import (
    Code,
    NotFound,
    PermanentError,
    SettingsError,
    StorageUnavailable,
)
from shared.uploads import identity
from shared.uploads.documents import ModelRef, WorkflowRef
from shared.workflows import own
from shared.workflows.gates import gates
from shared.workflows.own import OwnWorkflow
from shared.workflows.registry import presets
from shared.workflows.schema import Step, StepKind, Workflow

OWN_STEP = {
    "ddcolor": "colorize",
    "gfpgan": "faces",
    "lama": "repair",
    "restoreformer": "faces",
}
"""Architectures that only one step can use. Where such a step has a model, it is of one
of these.
"""


@dataclass(frozen=True)
class ResolvedStep:
    """One step with its model and the values of its parameters. `gated` and `optional`
    are those of `schema.Step`. `weak`: the model whose weights are mixed with its own.
    """

    kind: StepKind
    model: models.Model | None
    params: Mapping[str, Any]
    gated: bool = False
    optional: bool = False
    weak: models.Model | None = None

    @property
    def models(self) -> list[models.Model]:
        """The models of which it needs the files."""
        return [model for model in (self.model, self.weak) if model]


@dataclass(frozen=True)
class ResolvedWorkflow:
    """A workflow that a worker can execute; `ref.signature` identifies exactly this.

    `is_own`: it is not built in.
    """

    ref: WorkflowRef
    steps: tuple[ResolvedStep, ...]
    is_own: bool = False

    @property
    def models(self) -> list[ModelRef]:
        """The models of all steps, in the steps' order."""
        chosen = [model for step in self.steps for model in step.models]
        return [ModelRef(name=model.name, sha256=model.sha256) for model in chosen]

    @property
    def scale(self) -> float:
        """Output side over input side, as long as no gate enlarges a small photo."""
        scale = 1.0
        for step in self.steps:
            if not step.gated:
                scale *= float(step.params.get("scale", 1.0))
        return scale


Usual = Mapping[str, Mapping[str, Any]]
"""By workflow: the parameters that the setting `default_params` gives to who leaves them
out.
"""


def asked(
    name: str, params: Mapping[str, Any] | None, usual: Usual
) -> ResolvedWorkflow:
    """Resolve what somebody asks for: what `params` leave out is as the setting has it,
    and signed as if it had been asked for. Raises as `resolve`.

    What is resolved already, as in a receipt, has nothing left out, also where a later
    release knows more parameters: that is for `resolve`.
    """
    ours = usual.get(name, {})
    try:
        return resolve(name, params, usual=ours)
    except PermanentError as error:
        if not ours or error.code == Code.UNKNOWN_WORKFLOW:
            raise
        resolve(name, params)  # raises where the fault is the asker's
        detail = f"DARKROOM_DEFAULT_PARAMS: {error.detail}"
        raise PermanentError(error.code, detail) from None


def check_usual(usual: Usual) -> None:
    """Raises `SettingsError` where the setting names an unknown workflow or parameter,
    or a value beyond its range. An own workflow is looked at when it can be read.
    """
    for name, params in usual.items():
        if name not in presets() and own.shelf() is None:
            continue
        try:
            with suppress(StorageUnavailable):
                resolve(name, params)
        except PermanentError as error:
            detail = f"DARKROOM_DEFAULT_PARAMS: {error.detail}"
            raise SettingsError(detail) from error


def resolve(
    name: str,
    params: Mapping[str, Any] | None = None,
    version: int | None = None,
    usual: Mapping[str, Any] | None = None,
) -> ResolvedWorkflow:
    """Fix every parameter and model of workflow `name`.

    `version`: of one that is not built in, which may have several; None: the latest.
    A built-in workflow has but one. `usual`: what stands for parameters that are not in
    `params`, before the workflow's own defaults.

    Raises `PermanentError`: `unknown_workflow` with the known names, `bad_parameter`
    with the rule; and `StorageUnavailable` where it is not built in and cannot be read.
    """
    return _whole(find(name, version), dict(params or {}), usual or {})


def _whole(
    found: OwnWorkflow, given: Mapping[str, Any], usual: Mapping[str, Any]
) -> ResolvedWorkflow:
    workflow = found.workflow
    values = _values(workflow, {**usual, **given})
    chosen = [_model(step, values) for step in workflow.steps]
    pairs = list(zip(workflow.steps, chosen, strict=True))
    for step, model in pairs:
        if model and "scale" in step.params:
            is_given = "scale" in given
            values["scale"] = _scale(values["scale"], model, is_given)
        if model and "scale" in step.fixed:
            _scale(float(step.fixed["scale"]), model, is_given=True)
    steps = tuple(_resolved(step, model, values) for step, model in pairs)
    return ResolvedWorkflow(_ref(found, values, steps), steps, bool(found.sha256))


def find(name: str, version: int | None = None) -> OwnWorkflow:
    """The workflow of that name, and version where there are several; a built-in one
    comes without a checksum. Raises as `resolve`.
    """
    built_in = presets().get(name)
    if built_in is not None:
        return OwnWorkflow(built_in, "")
    shelf = own.shelf()
    found = None
    if shelf is not None:
        found = shelf.version(name, version) if version else shelf.latest(name)
    if found is None:
        called = f"{name!r} of version {version}" if version else repr(name)
        known = ", ".join([*presets(), *(shelf.all() if shelf else ())])
        raise PermanentError(
            Code.UNKNOWN_WORKFLOW, f"no workflow {called}; there are {known}"
        )
    return found


def offered(usual: Usual | None = None) -> list[tuple[Workflow, ResolvedWorkflow]]:
    """The built-in workflows, then the latest versions of the installation's own that
    can be resolved here, each with its defaults, of which `usual` are some; while the
    store is away, as they were known last.
    """
    usual = usual or {}
    known = dict(presets())
    shelf = own.shelf()
    if shelf is not None:
        with suppress(StorageUnavailable):
            shelf.all()
        for name, latest in sorted(shelf.known.items()):
            known.setdefault(name, latest.workflow)
    found = []
    for name, workflow in known.items():
        ours = usual.get(name, {})
        try:
            resolved = asked(name, {}, usual)
        except (PermanentError, StorageUnavailable):
            if name in presets():
                raise
            continue
        found.append((workflow.with_defaults(ours), resolved))
    return found


def own_faults() -> list[str]:
    """Why files of own workflows cannot be used, as far as they were looked at."""
    shelf = own.shelf()
    if shelf is None:
        return []
    read = [fault_of(found) for found in shelf.known.values()]
    return [*shelf.faults.values(), *(fault for fault in read if fault)]


def fault_of(found: OwnWorkflow) -> str | None:
    """Why this workflow cannot be resolved with its defaults: a model that is not known
    here, is not for its step, or cannot do what a fixed value asks. None: it can.
    """
    workflow = found.workflow
    try:
        _whole(found, {}, {})
    except PermanentError as error:
        return f"{workflow.name} {workflow.version}: {error.detail}"
    return None


def _resolved(
    step: Step, model: models.Model | None, values: Mapping[str, Any]
) -> ResolvedStep:
    params = {**step.fixed, **{name: values[name] for name in step.params}}
    weak = _weak(step, model, params)
    return ResolvedStep(step.step, model, params, step.gated, step.optional, weak)


def _weak(
    step: Step, model: models.Model | None, params: Mapping[str, Any]
) -> models.Model | None:
    """The twin of a step's model that leaves more noise, where not all is to go."""
    denoise = params.get("denoise", 1)
    if step.step != "upscale" or model is None or denoise == 1:
        return None
    if model.weak is None:
        able = ", ".join(each.name for each in models.registry().values() if each.weak)
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"denoise={denoise:g}: model {model.name} has no twin that leaves noise; choose model={able}",
        )
    return models.get(model.weak)


def _values(workflow: Workflow, given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every parameter, given or default."""
    parameters = workflow.parameters()
    for key in sorted(given):
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise PermanentError(
                Code.BAD_PARAMETER,
                f"workflow {workflow.name!r} has no parameter {key!r}; it has {known}",
            )
    return {
        key: parameter.check(key, given.get(key, parameter.default))
        for key, parameter in parameters.items()
    }


def _model(step: Step, values: Mapping[str, Any]) -> models.Model | None:
    """The model of a step: its own, or the one that a parameter chooses."""
    name = values[step.model_from] if step.model_from else step.model
    if not name:
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


def _scale(scale: float, model: models.Model, is_given: bool) -> float:
    """`scale`, at most the model's own. A larger one that was given is refused."""
    if scale > model.scale and is_given:
        raise PermanentError(
            Code.BAD_PARAMETER,
            f"scale={scale:g} is more than the {model.scale} of model {model.name}",
        )
    return min(scale, float(model.scale))


def _ref(
    found: OwnWorkflow, values: dict[str, Any], steps: tuple[ResolvedStep, ...]
) -> WorkflowRef:
    """The reference of a resolved workflow, with its signature."""
    workflow = found.workflow
    checksums = {model.name: model.sha256 for step in steps for model in step.models}
    signed: dict[str, Any] = {
        "name": workflow.name,
        "version": workflow.version,
        "params": _signed(workflow, values),
        "models": checksums,
    }
    if found.sha256:
        signed["file"] = found.sha256
    if any(step.gated for step in steps):
        signed["gates"] = gates().model_dump()
    return WorkflowRef(
        name=workflow.name,
        version=workflow.version,
        params=values,
        signature=identity.signature(signed),
    )


def _signed(workflow: Workflow, values: dict[str, Any]) -> dict[str, Any]:
    """The parameters that the signature covers."""
    parameters = workflow.parameters()
    return {
        name: value
        for name, value in values.items()
        if not parameters[name].unsigned_default or value != parameters[name].default
    }
