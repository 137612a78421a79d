"""What a workflow that is not built in may hold: the steps of the built-in ones, with
their parameters, each within the widest range that any of them gives it.

A step without a parameter that it needs would fail every photo, and one beyond the
range could take a worker's whole memory. Both are refused before there is a photo.
"""

from __future__ import annotations

import re
from functools import cache

from shared.errors import PermanentError
from shared.workflows.registry import presets
from shared.workflows.schema import Parameter, Step, StepKind, Workflow

NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
COMPOSED = "composed-"
"""Begins the names of the workflows that requests compose."""
MOST_STEPS = 12
MOST_VERSION = 999_999
MOST_TITLE_CHARS = 80
MOST_DESCRIPTION_CHARS = 500

NEEDED: dict[StepKind, tuple[str, ...]] = {
    "colorize": ("model_size", "color_factor"),
    "denoise": ("strength",),
    "faces": ("strength",),
    "dehaze": ("amount",),
    "repair": ("sensitivity",),
    "upscale": ("scale",),
    "finish": ("sharpen", "saturation", "contrast"),
}
"""The parameters without which a step cannot run."""
SET_BY_LOOK = frozenset({"denoise", "faces", "dehaze", "repair"})
"""Steps whose needed parameters the look at a photo sets, where they are gated."""
NEEDS_MODEL = frozenset({"colorize", "denoise", "faces", "upscale"})


@cache
def known(kind: StepKind) -> dict[str, Parameter]:
    """The parameters of a kind of step by name, each with the widest range that a
    built-in workflow gives it, and the default of the first of them.
    """
    found: dict[str, Parameter] = {}
    for workflow in presets().values():
        for step in workflow.steps:
            if step.step != kind:
                continue
            for name, parameter in step.params.items():
                if name != step.model_from:
                    found[name] = _widest(found.get(name, parameter), parameter)
    return found


@cache
def has_gate(kind: StepKind) -> bool:
    """Whether the look at a photo can skip this kind of step."""
    steps = [step for workflow in presets().values() for step in workflow.steps]
    return any(step.gated for step in steps if step.step == kind)


def check(workflow: Workflow) -> None:
    """Raises `ValueError` with the rule that the workflow breaks."""
    _check_words(workflow)
    if not 1 <= len(workflow.steps) <= MOST_STEPS:
        raise ValueError(
            f"it has {len(workflow.steps)} steps; 1 to {MOST_STEPS} are allowed"
        )
    for number, step in enumerate(workflow.steps, 1):
        try:
            _check_step(step)
        except ValueError as error:
            raise ValueError(f"step {number} ({step.step}): {error}") from None


def _check_words(workflow: Workflow) -> None:
    name = workflow.name
    if not NAME.fullmatch(name):
        raise ValueError(
            f"the name {name[:80]!r} is not up to 40 small letters, digits and `-`, a letter first"
        )
    if name in presets():
        raise ValueError(f"{name!r} is built in; give the workflow another name")
    if not 1 <= workflow.version <= MOST_VERSION:
        raise ValueError(
            f"version {workflow.version} is not from 1 to {MOST_VERSION:,}"
        )
    for words in (workflow, workflow.zh):
        if len(words.title) > MOST_TITLE_CHARS:
            raise ValueError(f"a title has more than {MOST_TITLE_CHARS} characters")
        if len(words.description) > MOST_DESCRIPTION_CHARS:
            raise ValueError(
                f"a description has more than {MOST_DESCRIPTION_CHARS} characters"
            )


def _check_step(step: Step) -> None:
    if step.gated and not has_gate(step.step):
        raise ValueError("the look at a photo has no gate for it; leave out `gated`")
    if step.step in NEEDS_MODEL and not step.model:
        raise ValueError("it needs a `model`; `darkroom models list` has them")
    for name, parameter in step.params.items():
        if name == step.model_from:
            if parameter.type != "string":
                raise ValueError(f"{name} names a model, so its type is string")
            continue
        _check_within(name, parameter, _known(step, name))
    for name, value in step.fixed.items():
        _check_value(name, value, _known(step, name))
    missing = [name for name in _needed(step) if name not in _given(step)]
    if missing:
        raise ValueError(f"it needs {', '.join(missing)}, in `params` or in `fixed`")


def _known(step: Step, name: str) -> Parameter:
    found = known(step.step).get(name)
    if found is None:
        names = ", ".join(known(step.step))
        raise ValueError(f"it has no parameter {name[:80]!r}; there are {names}")
    return found


def _needed(step: Step) -> tuple[str, ...]:
    is_forced = "force" in _given(step)
    if step.gated and step.step in SET_BY_LOOK and not is_forced:
        return ()
    return NEEDED[step.step]


def _given(step: Step) -> set[str]:
    return {*step.params, *step.fixed}


def _check_within(name: str, own: Parameter, widest: Parameter) -> None:
    """That `own` allows nothing which `widest` does not."""
    if own.type != widest.type:
        raise ValueError(f"{name} is of type {widest.type}")
    is_within = (
        _is_at_least(own.minimum, widest.minimum)
        and _is_at_most(own.maximum, widest.maximum)
        and (widest.enum is None or {*(own.enum or ())} <= {*widest.enum})
        and (widest.enum is None or bool(own.enum))
    )
    if not is_within:
        raise ValueError(f"{name} must stay within {widest.allowed()}")


def _check_value(name: str, value: object, parameter: Parameter) -> None:
    try:
        parameter.check(name, value)
    except PermanentError as error:
        raise ValueError(error.detail) from None


def _is_at_least(own: float | None, bound: float | None) -> bool:
    return bound is None or (own is not None and own >= bound)


def _is_at_most(own: float | None, bound: float | None) -> bool:
    return bound is None or (own is not None and own <= bound)


def _widest(one: Parameter, other: Parameter) -> Parameter:
    """`one` with whatever range allows what either allows."""
    lowest = highest = enum = None
    if one.minimum is not None and other.minimum is not None:
        lowest = min(one.minimum, other.minimum)
    if one.maximum is not None and other.maximum is not None:
        highest = max(one.maximum, other.maximum)
    if one.enum is not None and other.enum is not None:
        enum = [*dict.fromkeys([*one.enum, *other.enum])]
    return one.model_copy(update={"minimum": lowest, "maximum": highest, "enum": enum})
