"""The schema of a preset file: a workflow, its steps and their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from shared.errors import Code, PermanentError

StepKind = Literal[
    "colorize", "denoise", "faces", "dehaze", "repair", "upscale", "finish"
]

_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}


class Parameter(BaseModel):
    """One parameter: its type, range and default, in the words of JSON Schema.

    `examples`: usual values, for a client to offer.

    `unsigned_default`: it came after the workflow's version, and changes nothing at its
    default; so that is left out of the signature, which stays what it was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["integer", "number", "string", "boolean"]
    default: int | float | str | bool
    description: str
    minimum: float | None = None
    maximum: float | None = None
    enum: list[int | float | str] | None = None
    examples: list[int | float | str] | None = None
    unsigned_default: bool = False

    def check(self, name: str, value: Any) -> Any:
        """`value` in the parameter's own type.

        Raises `PermanentError(bad_parameter)` naming the range.
        """
        if not self._has_type(value) or not self._is_in_range(value):
            raise PermanentError(
                Code.BAD_PARAMETER, f"{name}={value!r} is not {self.rule()}"
            )
        # 4 and 4.0 are the same number and must give the same signature.
        return float(value) if self.type == "number" else value

    def _has_type(self, value: Any) -> bool:
        # To Python a bool is an int.
        if isinstance(value, bool):
            return self.type == "boolean"
        return isinstance(value, _TYPES[self.type])

    def _is_in_range(self, value: Any) -> bool:
        if self.enum is not None and value not in self.enum:
            return False
        if self.minimum is not None and value < self.minimum:
            return False
        return self.maximum is None or bool(value <= self.maximum)

    def rule(self) -> str:
        """The rule as words: `an integer from 460 to 680 (default 512)`."""
        return f"{self.allowed()} (default {_word(self.default)})"

    def allowed(self) -> str:
        """The rule without the default."""
        if self.enum is not None:
            return "one of " + ", ".join(map(_word, self.enum))
        article = "an" if self.type == "integer" else "a"
        allowed = f"{article} {self.type}"
        if self.minimum is None and self.maximum is None:
            return allowed
        return f"{allowed} from {self.minimum:g} to {self.maximum:g}"


def _word(value: Any) -> str:
    """A value as a sentence shows it; an empty text is seen, too."""
    return '""' if value == "" else str(value)


class Step(BaseModel):
    """One step. `model_from` names the parameter that chooses another model of the
    registry than `model`; that of a step without one is empty by default.

    `gated`: the look at a photo may skip the step, and sets what `params` leave open.
    `optional`: a worker that lacks what the step needs skips it.
    `fixed`: values that no caller changes; unlike the names of `params`, theirs may
    repeat in other steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: StepKind
    model: str | None = None
    model_from: str | None = None
    gated: bool = False
    optional: bool = False
    params: dict[str, Parameter] = {}
    fixed: dict[str, int | float | str | bool] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Step:
        twice = sorted(self.params.keys() & self.fixed.keys())
        if twice:
            raise ValueError(f"step {self.step}: {twice} both in params and in fixed")
        if self.model_from is None:
            return self
        parameter = self.params.get(self.model_from)
        if parameter is None or parameter.default != (self.model or ""):
            raise ValueError(
                f"step {self.step}: parameter {self.model_from!r} must exist, its default be {self.model or ''!r}"
            )
        return self

    def with_defaults(self, usual: Mapping[str, Any]) -> Step:
        """The step as it is where `usual` stand for its defaults."""
        params = {
            name: parameter.model_copy(
                update={"default": usual.get(name, parameter.default)}
            )
            for name, parameter in self.params.items()
        }
        model = usual.get(self.model_from or "", self.model)
        return self.model_copy(update={"params": params, "model": model})


class Words(BaseModel):
    """What a workflow is called, and what it does, in one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    description: str


class Workflow(BaseModel):
    """One preset file. `title` and `description` are English, `zh` is Chinese."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    title: str
    description: str
    zh: Words
    steps: list[Step]

    @model_validator(mode="after")
    def _consistent(self) -> Workflow:
        names = [name for step in self.steps for name in step.params]
        if len(names) != len(set(names)):
            raise ValueError(
                f"parameter names repeat in workflow {self.name!r}: {sorted(names)}"
            )
        for name, parameter in self.parameters().items():
            for value in [parameter.default, *(parameter.examples or [])]:
                parameter.check(name, value)
        return self

    def parameters(self) -> dict[str, Parameter]:
        """The parameters of all steps by name."""
        found: dict[str, Parameter] = {}
        for step in self.steps:
            found |= step.params
        return found

    def with_defaults(self, usual: Mapping[str, Any]) -> Workflow:
        """The workflow as it is where `usual` stand for its defaults."""
        steps = [step.with_defaults(usual) for step in self.steps]
        return self.model_copy(update={"steps": steps})

    def params_schema(self) -> dict[str, Any]:
        """JSON Schema of the parameters object."""
        properties = {
            name: parameter.model_dump(exclude_none=True, exclude={"unsigned_default"})
            for name, parameter in self.parameters().items()
        }
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
